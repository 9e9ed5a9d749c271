from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import HookError
from cosmo_core.plugins import Contribution, PluginManager, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_core.dendrite import Dendrite
    from cosmo_core.plugins import Direction, Dropped, Forward, SignalEvent
    from cosmo_core.protocol.signal import Signal
    from tests.plugins.conftest import Site


async def forwarding(signal: Signal, forward: Forward, /) -> Signal | Dropped:
    return await forward(signal)


def watch(event: SignalEvent) -> None: ...


def same(neuron: NeuronFn) -> NeuronFn:
    return neuron


class Observing:
    """A plugin that contributes ``result`` as observers."""

    def __init__(self, result: object) -> None:
        self.result = result

    @hookimpl
    def cosmo_signal_observers(self) -> object:
        return self.result


def _observing(result: object) -> PluginManager:
    manager = PluginManager(environ={})
    manager.register(Observing(result), name="mine")
    return manager


def test_cosmo_signal_middleware_gets_the_dendrite_and_the_direction(dendrite: Dendrite) -> None:
    asked: list[tuple[object, str]] = []

    class Hooks:
        @hookimpl
        def cosmo_signal_middleware(self, dendrite: Dendrite, direction: Direction) -> object:
            asked.append((dendrite, direction))
            return forwarding if direction == "outbound" else None

    manager = PluginManager(environ={})
    manager.register(Hooks(), name="mine", order=3)
    assert manager.signal_middleware(dendrite, "inbound") == []
    assert manager.signal_middleware(dendrite, "outbound") == [
        Contribution("mine", None, None, 3, forwarding)
    ]
    assert asked == [(dendrite, "inbound"), (dendrite, "outbound")]


def test_cosmo_neuron_wrappers_gets_the_axon(axon: Axon) -> None:
    asked: list[object] = []

    class Hooks:
        @hookimpl
        def cosmo_neuron_wrappers(self, axon: Axon) -> object:
            asked.append(axon)
            return [same]

    manager = PluginManager(environ={})
    manager.register(Hooks(), name="mine")
    assert [c.value for c in manager.neuron_wrappers(axon)] == [same]
    assert asked == [axon]


def _generated() -> Iterator[object]:
    yield watch
    yield print


@pytest.mark.parametrize(
    ("result", "values"),
    [
        (None, []),
        (watch, [watch]),
        ([], []),
        ([watch, print], [watch, print]),
        ((watch,), [watch]),
        (_generated(), [watch, print]),
    ],
)
def test_cosmo_signal_observers_may_return_none_one_or_several(
    dendrite: Dendrite, result: object, values: list[object]
) -> None:
    assert [c.value for c in _observing(result).signal_observers(dendrite)] == values


def test_generator_function_contributes_its_values(dendrite: Dendrite) -> None:
    class Hooks:
        @hookimpl
        def cosmo_signal_observers(self, dendrite: Dendrite) -> Iterator[object]:
            yield watch
            yield print

    manager = PluginManager(environ={})
    manager.register(Hooks(), name="mine")
    assert [c.value for c in manager.signal_observers(dendrite)] == [watch, print]


def test_contribution_names_its_distribution(site: Site, dendrite: Dendrite) -> None:
    text = """
from cosmo_core.plugins import hookimpl
COSMO_ORDER = 5

@hookimpl
def cosmo_signal_observers():
    return print
"""
    site.install(
        "acme-audit", "0.3.1", points={"cosmo.hooks:audit": "acme_audit"}, files={"acme_audit.py": text}
    )
    assert site.manager().signal_observers(dendrite) == [
        Contribution("audit", "acme-audit", "0.3.1", 5, print)
    ]


@pytest.mark.parametrize("result", [1, "watch", [None], [watch, 1], {"watch": watch}])
def test_contribution_that_is_not_callable_is_refused(dendrite: Dendrite, result: object) -> None:
    with pytest.raises(HookError, match=r"^plugin mine of this program: cosmo_signal_observers must return "):
        _observing(result).signal_observers(dendrite)


async def _coroutine(value: Any) -> None: ...


class AsyncCallable:
    async def __call__(self, value: Any) -> None: ...


@pytest.mark.parametrize("value", [_coroutine, AsyncCallable()])
def test_coroutine_function_is_refused_as_observer(dendrite: Dendrite, value: object) -> None:
    with pytest.raises(HookError, match="must return plain functions, not coroutine functions"):
        _observing(value).signal_observers(dendrite)


def test_coroutine_function_is_refused_as_wrapper(axon: Axon) -> None:
    class Hooks:
        @hookimpl
        def cosmo_neuron_wrappers(self) -> object:
            return _coroutine

    manager = PluginManager(environ={})
    manager.register(Hooks(), name="mine")
    with pytest.raises(HookError, match="must return plain functions, not coroutine functions"):
        manager.neuron_wrappers(axon)


def test_returned_coroutine_is_refused_and_closed(dendrite: Dendrite) -> None:
    with pytest.raises(HookError, match="must return a callable, several of them, or None; got <coroutine"):
        _observing(_coroutine(1)).signal_observers(dendrite)


FAILING = """
from cosmo_core.plugins import hookimpl

@hookimpl
def cosmo_signal_observers():
    {body}
"""


@pytest.mark.parametrize("body", ["raise OSError('no disk')", "yield print; raise OSError('no disk')"])
def test_exception_of_a_hook_has_a_note_that_names_the_plugin(
    site: Site, dendrite: Dendrite, body: str
) -> None:
    files = {"acme_audit.py": FAILING.format(body=body)}
    site.install("cosmo-hooks-audit", "0.3.1", points={"cosmo.hooks:audit": "acme_audit"}, files=files)
    with pytest.raises(OSError, match="no disk") as caught:
        site.manager().signal_observers(dendrite)
    assert caught.value.__notes__ == ["from plugin audit of cosmo-hooks-audit 0.3.1"]
