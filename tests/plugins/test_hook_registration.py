"""Validation and registration of hook plugins, with the error texts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import HookError, PluginConflictError
from cosmo_core.plugins import PluginManager, hookimpl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cosmo_core.dendrite import Dendrite


def _register(**functions: Callable[..., Any]) -> PluginManager:
    manager = PluginManager(environ={})
    manager.register(SimpleNamespace(**functions), name="mine")
    return manager


def _refused(**functions: Callable[..., Any]) -> str:
    with pytest.raises(HookError) as caught:
        _register(**functions)
    return str(caught.value)


def test_unknown_hook_is_refused_with_a_suggestion() -> None:
    @hookimpl
    def cosmo_signal_observer(dendrite: object) -> None: ...

    message = _refused(cosmo_signal_observer=cosmo_signal_observer)
    assert message == (
        "plugin 'mine': unknown hook cosmo_signal_observer; did you mean cosmo_signal_observers?"
    )


def test_unknown_hook_without_a_similar_one_lists_all() -> None:
    @hookimpl
    def x(dendrite: object) -> None: ...

    assert "unknown hook x; known: cosmo_signal_middleware, cosmo_signal_observers, " in _refused(x=x)


def test_unknown_optional_hook_is_accepted() -> None:
    @hookimpl(optionalhook=True)
    def cosmo_of_the_future(thing: object) -> None: ...

    _register(cosmo_of_the_future=cosmo_of_the_future)


def test_unknown_argument_is_refused_with_both_signatures() -> None:
    @hookimpl
    def cosmo_signal_middleware(dendrit: object, direction: str = "inbound") -> None: ...

    assert _refused(cosmo_signal_middleware=cosmo_signal_middleware) == (
        "plugin 'mine': cosmo_signal_middleware takes 'dendrit', which the specification does not have; "
        "did you mean dendrite?\n"
        "plugin:        def cosmo_signal_middleware(dendrit, direction='inbound')\n"
        "specification: def cosmo_signal_middleware(dendrite, direction)"
    )


def test_catch_all_arguments_are_refused() -> None:
    @hookimpl
    def cosmo_neuron_wrappers(**arguments: object) -> None: ...

    assert "takes 'arguments', which" in _refused(cosmo_neuron_wrappers=cosmo_neuron_wrappers)


def test_positional_only_arguments_are_refused() -> None:
    @hookimpl
    def cosmo_neuron_wrappers(axon: object, /) -> None: ...

    assert "by position only" in _refused(cosmo_neuron_wrappers=cosmo_neuron_wrappers)


async def test_fewer_and_keyword_only_arguments_are_accepted(dendrite: Dendrite) -> None:
    log: list[object] = []

    @hookimpl
    def cosmo_dendrite_started() -> None:
        log.append("started")

    @hookimpl
    def cosmo_dendrite_stopping(*, dendrite: object = None) -> None:
        log.append(dendrite)

    manager = _register(
        cosmo_dendrite_started=cosmo_dendrite_started, cosmo_dendrite_stopping=cosmo_dendrite_stopping
    )
    await manager.dendrite_started(dendrite)
    await manager.dendrite_stopping(dendrite)
    assert log == ["started", dendrite]


@pytest.mark.parametrize(
    "hook",
    ["cosmo_signal_middleware", "cosmo_signal_observers", "cosmo_neuron_wrappers", "cosmo_error_info"],
)
def test_coroutine_function_is_refused_except_for_life_cycle_hooks(hook: str) -> None:
    async def implementation() -> None: ...

    implementation.__name__ = hook
    message = _refused(**{hook: hookimpl(implementation)})
    assert f"{hook} is a coroutine function, which only the life-cycle hooks may be" in message
    assert f"plugin:        async def {hook}()" in message


@pytest.mark.parametrize("hook", ["cosmo_dendrite_started", "cosmo_dendrite_stopping", "cosmo_error_info"])
def test_generator_function_is_refused_except_for_composition_hooks(hook: str) -> None:
    def implementation() -> Iterator[None]:
        yield

    assert f"{hook} is a generator" in _refused(**{hook: hookimpl(implementation)})


@pytest.mark.parametrize("hook", ["cosmo_dendrite_started", "cosmo_signal_observers"])
def test_async_generator_function_is_refused(hook: str) -> None:
    async def implementation() -> AsyncIterator[None]:
        yield

    assert f"{hook} is an async generator" in _refused(**{hook: hookimpl(implementation)})


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("wrapper", "cannot span an await"),
        ("hookwrapper", "cannot span an await"),
        ("tryfirst", "COSMO_ORDER"),
        ("trylast", "COSMO_ORDER"),
    ],
)
def test_unsupported_options_of_pluggy_are_refused_with_a_reason(option: str, why: str) -> None:
    def implementation(dendrite: object) -> Iterator[None]:
        yield

    mark: Any = hookimpl
    message = _refused(cosmo_signal_observers=mark(**{option: True})(implementation))
    assert f"cosmo_signal_observers uses {option}=True, which is not allowed: " in message
    assert why in message


def test_unmarked_hook_function_is_refused() -> None:
    def cosmo_signal_observers(dendrite: object) -> None: ...

    message = _refused(cosmo_signal_observers=cosmo_signal_observers)
    assert message == "plugin 'mine': cosmo_signal_observers is not a function marked with @hookimpl"


def test_object_without_hooks_is_refused() -> None:
    assert "plugin 'mine' has no function marked with @hookimpl" in _refused()


def test_class_instead_of_instance_is_refused() -> None:
    class Hooks:
        @hookimpl
        def cosmo_signal_observers(self, dendrite: object) -> None: ...

    with pytest.raises(HookError, match="register an instance, not the class"):
        PluginManager(environ={}).register(Hooks, name="mine")


def test_refused_plugin_registers_nothing(dendrite: Dendrite) -> None:
    class Hooks:
        @hookimpl
        def cosmo_dendrite_started(self, dendrit: object) -> None: ...

        @hookimpl
        def cosmo_signal_observers(self) -> object:
            return print

    manager = PluginManager(environ={})
    with pytest.raises(HookError):
        manager.register(Hooks(), name="mine")
    assert manager.signal_observers(dendrite) == []
    assert [record for record in manager.report().records if record.group == "cosmo.hooks"] == []


def _observer(**attributes: object) -> SimpleNamespace:
    @hookimpl
    def cosmo_signal_observers() -> object:
        return print

    return SimpleNamespace(cosmo_signal_observers=cosmo_signal_observers, **attributes)


def test_registered_name_is_refused() -> None:
    manager = PluginManager(environ={})
    manager.register(_observer(), name="mine")
    with pytest.raises(PluginConflictError, match="'mine' is already taken by plugin mine of this program"):
        manager.register(_observer(), name="mine")


def test_registered_plugin_is_refused() -> None:
    manager = PluginManager(environ={})
    plugin = _observer()
    manager.register(plugin, name="mine")
    with pytest.raises(
        PluginConflictError, match="'other' equals plugin 'mine', which is already registered"
    ):
        manager.register(plugin, name="other")


def test_order_that_is_not_an_integer_is_refused() -> None:
    with pytest.raises(HookError, match="plugin 'mine': its order must be an integer, got 'first'"):
        PluginManager(environ={}).register(_observer(COSMO_ORDER="first"), name="mine")


def test_order_given_at_registration_overrides_the_plugins(dendrite: Dendrite) -> None:
    manager = PluginManager(environ={})
    manager.register(_observer(COSMO_ORDER=7), name="own")
    manager.register(_observer(COSMO_ORDER=7), name="given", order=-1)
    manager.register(_observer(), name="none")
    assert [(c.order, c.plugin) for c in manager.signal_observers(dendrite)] == [
        (-1, "given"),
        (0, "none"),
        (7, "own"),
    ]


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(-3, 3), max_size=8), st.randoms())
def test_plugins_are_called_by_order_and_name(orders: dict[str, int], random: Any) -> None:
    names = list(orders)
    random.shuffle(names)
    manager = PluginManager(environ={})
    for name in names:
        manager.register(_observer(name=name), name=name, order=orders[name])
    asked = [(c.order, c.plugin) for c in manager.signal_observers(_any_dendrite())]
    assert asked == sorted((order, name) for name, order in orders.items())


def _any_dendrite() -> Any:
    return object()
