"""A context Neuron reads a Context: it keeps nothing of it, and changes nothing in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_context.errors import ContextNeuronError
from cosmo_context.state import ContextState
from cosmo_context.testing.asking import (
    copied,
    fragment_of,
    fragment_of_example,
    need_untouched,
    shortened,
    with_state,
)
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_context.context import Context
    from cosmo_context.neuron import Fits, Neuron
    from cosmo_context.testing.subject import ContextNeuronUnderTest, Example


@REQUIREMENTS.proves("context:same-twice")
async def check_same_twice(subject: ContextNeuronUnderTest) -> None:
    """Ask one instance twice, and another one."""
    neuron, other = subject.neuron(), subject.neuron()
    for example in subject.examples():
        fragments = [await fragment_of_example(each, example) for each in (neuron, neuron, other)]
        need(len(set(fragments)) == 1, f"one Context gave {fragments[0]!r}, then {fragments[1:]!r}")


@REQUIREMENTS.proves("context:state-untouched")
async def check_state_untouched(subject: ContextNeuronUnderTest) -> None:
    """Compare the state with a deep copy of it."""
    neuron = subject.neuron()
    for example in subject.examples():
        kept = copied(example.ctx)
        whole = await fragment_of_example(neuron, example)
        need_untouched(example.ctx, kept)
        await shortened(neuron, example.ctx, _half_of(whole), **example.options)
        need_untouched(example.ctx, kept)


@REQUIREMENTS.proves("context:fork")
async def check_fork(subject: ContextNeuronUnderTest) -> None:
    """Ask in a fork that has no values of its own."""
    neuron = subject.neuron()
    for example in subject.examples():
        fragment = await fragment_of_example(neuron, example)
        fork = example.ctx.fork(example.ctx.task_id)
        inherited = await fragment_of(neuron, fork, **example.options)
        need(inherited == fragment, f"the Context gives {fragment!r}, its fork {inherited!r}")


@REQUIREMENTS.proves("context:reads")
async def check_reads(subject: ContextNeuronUnderTest) -> None:
    """Watch which keys are asked for in all Contexts that there are."""
    neuron = subject.neuron()
    read: set[str] = set()
    for ctx, options in _contexts(subject):
        await fragment_of(neuron, with_state(ctx, _Watched(ctx.state.to_dict(), read)), **options)
    undeclared = ", ".join(sorted(read - subject.reads.keys()))
    need(not undeclared, f"it reads {undeclared}, which reads does not declare")
    unread = ", ".join(sorted(subject.reads.keys() - read))
    need(not unread, f"reads declares {unread}, which no example makes it read")


@REQUIREMENTS.proves("context:wrong-shape")
async def check_wrong_shape(subject: ContextNeuronUnderTest) -> None:
    """Put every declared value of the wrong shape into every example."""
    neuron = subject.neuron()
    for key, values in subject.reads.items():
        for value in values:
            for example in subject.examples():
                await _need_refused(neuron, example, key, value)


@REQUIREMENTS.proves("context:any-state")
async def check_any_state(subject: ContextNeuronUnderTest) -> None:
    """Ask with whatever states Hypothesis comes up with."""
    # Imported on use: no other check needs hypothesis.
    from cosmo_context.testing.arbitrary import try_states

    neuron = subject.neuron()
    for example in subject.examples():
        await try_states(neuron, example, subject.reads)


class _Watched(ContextState):
    """A state that notes which keys are asked for."""

    __slots__ = ("_read",)

    def __init__(self, values: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(values)
        self._read = read

    def get(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return super().get(key, default)


async def _need_refused(neuron: Neuron, example: Example, key: str, value: Any) -> None:
    ctx = with_state(example.ctx, {**example.ctx.state.to_dict(), key: value})
    try:
        fragment = await fragment_of(neuron, ctx, **example.options)
    except ContextNeuronError as error:
        need(error.neuron == neuron.name, f"the error names {error.neuron!r}, not {neuron.name!r}: {error}")
        need(key in str(error), f"the error does not name the key {key!r}: {error}")
    except UnmetError:
        raise
    except Exception as error:
        raise UnmetError(
            f"{key!r} of {value!r} ends in {type(error).__name__} and not ContextNeuronError: {error}"
        ) from error
    else:
        raise UnmetError(f"{key!r} of {value!r} gives {fragment!r}")


def _contexts(subject: ContextNeuronUnderTest) -> list[tuple[Context, Mapping[str, Any]]]:
    return [*((each.ctx, each.options) for each in subject.examples()), (subject.nothing_to_say(), {})]


def _half_of(whole: str) -> Fits:
    return lambda text: len(text) <= len(whole) // 2
