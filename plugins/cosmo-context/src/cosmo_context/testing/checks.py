"""The requirements on a context Neuron, and their checks."""

from __future__ import annotations

import asyncio
import copy
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from hypothesis import strategies as st

from cosmo_context.builder import PromptBuilder
from cosmo_context.context import Context
from cosmo_context.data import marking, parts, unmarked
from cosmo_context.errors import ContextNeuronError, RegistryError
from cosmo_context.neuron import Fits, Neuron, Stability, is_number
from cosmo_context.registry import Registry
from cosmo_context.state import ContextState
from cosmo_context.testing.calls import (
    copied,
    fragment_of,
    fragment_of_example,
    need_untouched,
    shortened,
    with_state,
)
from cosmo_context.testing.subject import QUOTES, ContextNeuronUnderTest, Example
from cosmo_context.variables import DynamicVariableRegistry
from cosmo_core import PluginError
from cosmo_testing.conformance.kit import Kit, requirement
from cosmo_testing.conformance.properties import objects_like, try_each
from cosmo_testing.conformance.steps import UnmetError, need
from cosmo_testing.strategies import json_values


@requirement(
    "context:shape",
    "A context Neuron MUST be a `cosmo_context.Neuron`; `format` and `shorten` MUST be coroutine functions.",
)
async def check_shape(subject: ContextNeuronUnderTest) -> None:
    """Check its type and its two methods."""
    neuron: object = subject.neuron()
    need(isinstance(neuron, Neuron), f"{neuron!r} is not a cosmo_context.Neuron")
    for name in ("format", "shorten"):
        need(inspect.iscoroutinefunction(getattr(neuron, name)), f"{name} is not a coroutine function")


@requirement("context:name", "The name MUST be a non-empty string, and MUST NOT change.")
async def check_name(subject: ContextNeuronUnderTest) -> None:
    """Compare the names of an instance before and after a call, and of another instance."""
    neuron = subject.neuron()
    name: object = neuron.name
    need(isinstance(name, str) and name != "", f"the name is {name!r}")
    for example in subject.examples():
        await fragment_of_example(neuron, example)
    need(neuron.name == name, f"the name was {name!r}, and is {neuron.name!r} after a call")
    other = subject.neuron().name
    need(other == name, f"one instance has the name {name!r}, another has {other!r}")


@requirement(
    "context:placement",
    "The priority and the importance MUST be numbers, the stability a `Stability`.",
)
async def check_placement(subject: ContextNeuronUnderTest) -> None:
    """Check the types of the priority, the importance and the stability."""
    neuron = subject.neuron()
    for what in ("priority", "importance"):
        value = getattr(neuron, what)
        need(is_number(value), f"the {what} is {value!r}, not a number")
    stability: object = neuron.stability
    need(isinstance(stability, Stability), f"the stability is {stability!r}, not a Stability")


@requirement("context:read-only", "The name and the priority MUST NOT be settable.")
async def check_read_only(subject: ContextNeuronUnderTest) -> None:
    """Try to set each."""
    neuron = subject.neuron()
    for what in ("name", "priority"):
        try:
            setattr(neuron, what, getattr(neuron, what))
        except AttributeError:
            continue
        raise UnmetError(f"the {what} can be set: one instance serves every builder of a program")


@requirement("context:entry-point", "A context Neuron MUST be installed, and found by its name.")
async def check_entry_point(subject: ContextNeuronUnderTest) -> None:
    """Find it by its name among the installed Neurons."""
    neuron = subject.neuron()
    try:
        found = Registry().get(neuron.name)
    except (RegistryError, PluginError) as error:
        raise UnmetError(str(error)) from error
    need(type(found) is type(neuron), f"{neuron.name!r} finds {found!r}, not a {type(neuron).__name__}")
    need(found.name == neuron.name, f"{neuron.name!r} finds a Neuron of the name {found.name!r}")


_NO_SUCH_OPTION: Final = {"no_such_option": 1}


@requirement("context:text", "A fragment MUST be a string, with the options of the cache layout too.")
async def check_text(subject: ContextNeuronUnderTest) -> None:
    """Call it in both layouts."""
    neuron = subject.neuron()
    for ctx in (*(example.ctx for example in subject.examples()), subject.nothing_to_say()):
        await fragment_of(neuron, ctx)
        await fragment_of(neuron, ctx, **neuron.cache_options)


@requirement("context:examples", "Every example MUST give its expected fragment, to the byte.")
async def check_examples(subject: ContextNeuronUnderTest) -> None:
    """Compare the fragment of every example with the expected one."""
    neuron = subject.neuron()
    for place, example in enumerate(subject.examples()):
        fragment = await fragment_of_example(neuron, example)
        need(
            fragment == example.fragment,
            f"examples()[{place}] expects {example.fragment!r}, not {fragment!r}",
        )


@requirement(
    "context:nothing-to-say",
    'A Context without data MUST give `""`, unless `never_empty` is claimed.',
)
async def check_nothing_to_say(subject: ContextNeuronUnderTest) -> None:
    """Call it with the Context without data."""
    fragment = await fragment_of(subject.neuron(), subject.nothing_to_say())
    if subject.never_empty:
        need(fragment != "", "never_empty = True, but nothing_to_say() makes it empty")
    else:
        need(fragment == "", f"nothing_to_say() gives {fragment!r}")


@requirement("context:trailing-newline", "A fragment MUST NOT end with a newline.")
async def check_trailing_newline(subject: ContextNeuronUnderTest) -> None:
    """Check the end of the fragment of every example."""
    for neuron, example in _examples(subject):
        fragment = await fragment_of_example(neuron, example)
        need(
            not fragment.endswith("\n"),
            f"{fragment!r} ends with a newline, which the builder's separator adds",
        )


@requirement("context:unknown-option", "An unknown option MUST NOT change the fragment.")
async def check_unknown_option(subject: ContextNeuronUnderTest) -> None:
    """Call it with and without an unknown option."""
    for neuron, example in _examples(subject):
        without = await fragment_of_example(neuron, example)
        options = {**example.options, **_NO_SUCH_OPTION}
        fragment = await fragment_of(neuron, example.ctx, **options)
        need(fragment == without, f"{_NO_SUCH_OPTION} makes {fragment!r} of {without!r}")
        await shortened(neuron, example.ctx, lambda text: not text, **options)


@requirement(
    "context:same-twice",
    "The same Context MUST always give the same fragment, from every instance.",
)
async def check_same_twice(subject: ContextNeuronUnderTest) -> None:
    """Call one instance twice, and another one."""
    neuron, other = subject.neuron(), subject.neuron()
    for example in subject.examples():
        fragments = [await fragment_of_example(each, example) for each in (neuron, neuron, other)]
        need(len(set(fragments)) == 1, f"one Context gave {fragments[0]!r}, then {fragments[1:]!r}")


@requirement("context:state-untouched", "`format` and `shorten` MUST NOT change the state.")
async def check_state_untouched(subject: ContextNeuronUnderTest) -> None:
    """Compare the state with a deep copy from before the call."""
    for neuron, example in _examples(subject):
        kept = copied(example.ctx)
        whole = await fragment_of_example(neuron, example)
        need_untouched(example.ctx, kept)
        await shortened(neuron, example.ctx, _half_of(whole), **example.options)
        need_untouched(example.ctx, kept)


@requirement("context:fork", "A fork of a Context MUST give the fragment of its parent's values.")
async def check_fork(subject: ContextNeuronUnderTest) -> None:
    """Call it with a fork without values of its own."""
    for neuron, example in _examples(subject):
        fragment = await fragment_of_example(neuron, example)
        fork = example.ctx.fork(example.ctx.task_id)
        inherited = await fragment_of(neuron, fork, **example.options)
        need(inherited == fragment, f"the Context gives {fragment!r}, its fork {inherited!r}")


@requirement("context:reads", "A context Neuron MUST read exactly the declared keys of the state.")
async def check_reads(subject: ContextNeuronUnderTest) -> None:
    """Record the keys that are read in all Contexts."""
    neuron = subject.neuron()
    read: set[str] = set()
    for ctx, options in _contexts(subject):
        await fragment_of(neuron, with_state(ctx, _Watched(ctx.state.to_dict(), read)), **options)
    undeclared = ", ".join(sorted(read - subject.reads.keys()))
    need(not undeclared, f"it reads {undeclared}, which reads does not declare")
    unread = ", ".join(sorted(subject.reads.keys() - read))
    need(not unread, f"reads declares {unread}, which it reads in no example")


@requirement(
    "context:wrong-shape",
    "A value of the wrong shape MUST raise a ContextNeuronError that names the key.",
)
async def check_wrong_shape(subject: ContextNeuronUnderTest) -> None:
    """Put every declared value of a wrong shape into every example."""
    neuron = subject.neuron()
    for key, values in subject.reads.items():
        for value in values:
            for example in subject.examples():
                await _need_refused(neuron, example, key, value)


@requirement("context:any-state", "Any state MUST give a fragment, or raise a ContextNeuronError.")
async def check_any_state(subject: ContextNeuronUnderTest) -> None:
    """Call it with generated states."""
    for neuron, example in _examples(subject):
        await try_states(neuron, example, subject.reads)


class _Watched(ContextState):
    """A state that records which keys are read."""

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


def _examples(subject: ContextNeuronUnderTest) -> Iterator[tuple[Neuron, Example]]:
    """Return one instance with each of the examples."""
    neuron = subject.neuron()
    return ((neuron, example) for example in subject.examples())


def _contexts(subject: ContextNeuronUnderTest) -> list[tuple[Context, Mapping[str, Any]]]:
    return [*((each.ctx, each.options) for each in subject.examples()), (subject.nothing_to_say(), {})]


def _half_of(whole: str) -> Fits:
    return lambda text: len(text) <= len(whole) // 2


def states_like(valid: dict[str, Any], reads: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for states: variations of this one, and arbitrary values under the read keys."""
    anything = st.fixed_dictionaries({}, optional={key: json_values() for key in reads})
    return objects_like(valid) | anything


async def try_states(neuron: Neuron, example: Example, reads: Iterable[str]) -> None:
    """Call a Neuron with generated states, similar to that of an example and arbitrary.

    Raises:
        UnmetError: The result was neither a fragment nor a ContextNeuronError with the Neuron's name,
            or the state changed.
    """
    states = states_like(example.ctx.state.to_dict(), reads)
    await try_each(states, partial(_try, neuron, example))


async def _try(neuron: Neuron, example: Example, state: dict[str, Any]) -> None:
    # A copy, as the strategy reuses the values of the example.
    ctx = with_state(example.ctx, copy.deepcopy(state))
    kept = copied(ctx)
    try:
        await fragment_of(neuron, ctx, **example.options)
    except ContextNeuronError as error:
        need(error.neuron == neuron.name, f"the state {kept!r} ends in an error of another name: {error}")
    except UnmetError as error:
        raise UnmetError(f"with the state {kept!r}, {error}") from error.__cause__
    except Exception as error:
        raise UnmetError(f"the state {kept!r} ends in {type(error).__name__}: {error}") from error
    need_untouched(ctx, kept)


_TEXT: Final = "text of another author"
_KEY: Final = "known_to_the_context_only"
_VARIABLE: Final = f"${{{_KEY}}}"
_VALUE: Final = "confidential"
_TAG: Final = "<system_info of='other'>"
_ESCAPED: Final = "&lt;system_info of='other'>"


@requirement(
    "context:data-marked",
    "Quoted data MUST be marked as data while a builder asks for marks, and only then.",
    when=[QUOTES],
)
async def check_data_marked(subject: ContextNeuronUnderTest) -> None:
    """Get the fragment without marks, with marks, and without marks again."""
    neuron, ctx = subject.neuron(), _quoting(subject, _TEXT)
    plain = await fragment_of(neuron, ctx)
    need(_TEXT in plain, f"quoting({_TEXT!r}) gives {plain!r}")
    with marking():
        marked = await fragment_of(neuron, ctx)
    need(unmarked(marked) == plain, f"it says {plain!r}, and {unmarked(marked)!r} with marks")
    pieces = parts(marked) or []
    need(
        any(_TEXT in piece.text and not piece.own for piece in pieces),
        f"{_TEXT!r} passes for its own text: quote it with cosmo_context.data",
    )
    again = await fragment_of(neuron, ctx)
    need(again == plain, f"without marks it gives {again!r}: do not store the result of data()")


@requirement(
    "context:data-variables",
    "A `${variable}` in quoted data MUST stay as it was typed.",
    when=[QUOTES],
)
async def check_data_variables(subject: ContextNeuronUnderTest) -> None:
    """Let it quote a variable whose value is in the Context."""
    ctx = _quoting(subject, text := f"{_TEXT} {_VARIABLE}")
    ctx.state.set(_KEY, _VALUE)
    builder = PromptBuilder(ctx, variables=DynamicVariableRegistry())
    prompt = await builder.add_neuron(subject.neuron()).build()
    need(_VALUE not in prompt, f"{_VARIABLE} in the data became its value: {prompt!r}")
    need(text in prompt, f"quoting({text!r}) gives {prompt!r}")


@requirement("context:data-tags", "A tag in quoted data MUST be escapable.", when=[QUOTES])
async def check_data_tags(subject: ContextNeuronUnderTest) -> None:
    """Let it quote a tag of the prompt, in a prompt that escapes them."""
    ctx = _quoting(subject, text := f"{_TEXT} {_TAG}")
    builder = PromptBuilder(ctx, escape_tags=True)
    prompt = await builder.add_neuron(subject.neuron()).build()
    need(_TAG not in prompt, f"{_TAG} in the data was not escaped: {prompt!r}")
    need(_ESCAPED in prompt, f"quoting({text!r}) gives {prompt!r}")


def _quoting(subject: ContextNeuronUnderTest, text: str) -> Context:
    ctx = subject.quoting(text)
    if ctx is None:
        raise UnmetError(f"quoting({text!r}) gives no Context")
    return ctx


AT_ONCE: Final = 4
"""The number of concurrent calls for each Context."""
TURNS: Final = 16
"""The number of points at which a call is cancelled: after each of the first turns of the event loop."""
CANCEL_S: Final = 2.0
"""Seconds that a cancelled call may still run."""


@requirement(
    "context:concurrent",
    "Each of several concurrent calls MUST get the fragment of its own Context.",
)
async def check_concurrent(subject: ContextNeuronUnderTest) -> None:
    """Call one instance with all Contexts concurrently; compare with single calls."""
    neuron = subject.neuron()
    asked = _contexts(subject) * AT_ONCE
    alone = [await fragment_of(neuron, ctx, **options) for ctx, options in asked]
    need(len(set(alone)) > 1, f"examples() and nothing_to_say() all give {alone[0]!r}: add another example")
    calls = (fragment_of(neuron, ctx, **options) for ctx, options in asked)
    together = await asyncio.gather(*calls, return_exceptions=True)
    for fragment in together:
        if isinstance(fragment, BaseException):
            raise fragment
    need(together == alone, f"alone {alone!r}, together {together!r}")


@requirement("context:any-loop", "A context Neuron MUST work in one event loop after another.")
async def check_any_loop(subject: ContextNeuronUnderTest) -> None:
    """Call one instance in two event loops, one after the other."""
    for neuron, example in _examples(subject):
        first, second = [await asyncio.to_thread(_in_a_loop, neuron, example) for _ in range(2)]
        need(first == second, f"one loop gets {first!r}, the next {second!r}")


@requirement("context:cancel-prompt", "A cancelled `format` MUST end at once, as cancelled.")
async def check_cancel_prompt(subject: ContextNeuronUnderTest) -> None:
    """Cancel a call at every point where it waits."""
    for neuron, example in _examples(subject):
        for turns in range(TURNS):
            if (asked := await _cancelled(neuron, example, turns)) is None:
                break
            need(asked.done(), f"a cancelled format() still runs after {CANCEL_S:g} s")
            need(asked.cancelled(), f"a cancelled format() {_outcome(asked)}")


@requirement("context:usable-after-cancel", "A context Neuron MUST work after a cancelled `format`.")
async def check_usable_after_cancel(subject: ContextNeuronUnderTest) -> None:
    """Cancel a call at every point where it waits, and call again."""
    for neuron, example in _examples(subject):
        before = await fragment_of_example(neuron, example)
        for turns in range(TURNS):
            if await _cancelled(neuron, example, turns) is None:
                break
            after = await fragment_of_example(neuron, example)
            need(after == before, f"it gave {before!r}, and {after!r} after a cancelled format()")


def _in_a_loop(neuron: Neuron, example: Example) -> str:
    with asyncio.Runner() as runner:
        return runner.run(fragment_of_example(neuron, example))


async def _cancelled(neuron: Neuron, example: Example, turns: int) -> asyncio.Task[str] | None:
    """Cancel a call after some turns of the event loop; return None if it had ended."""
    asked = asyncio.create_task(neuron.format(example.ctx, **example.options))
    for _ in range(turns):
        await asyncio.sleep(0)
    if asked.done():
        asked.result()
        return None
    asked.cancel()
    try:
        await asyncio.wait([asked], timeout=CANCEL_S)
    finally:
        # Again, for a call that ignored the first cancellation. It is not awaited.
        asked.cancel()
    return asked


def _outcome(asked: asyncio.Task[str]) -> str:
    if asked.cancelled():
        return "ended as cancelled"
    error = asked.exception()
    return f"gave {asked.result()!r}" if error is None else f"raised {type(error).__name__}: {error}"


ALLOWANCES: Final = 64
"""The largest number of lengths to which an example is shortened."""


@requirement("context:shorten-fits", "A shortened fragment MUST fit or be empty, however little is allowed.")
async def check_shorten_fits(subject: ContextNeuronUnderTest) -> None:
    """Shorten every example to lengths from 0 to nearly its whole length."""
    for neuron, example in _examples(subject):
        whole = await fragment_of_example(neuron, example)
        for length in _lengths(len(whole)):
            text = await shortened(neuron, example.ctx, _at_most(length), **example.options)
            need(
                len(text) <= length,
                f"{length} characters are allowed, and it gives the {len(text)} of {text!r}",
            )


@requirement("context:shorten-shorter", "A shortened fragment MUST NOT be longer than the whole fragment.")
async def check_shorten_shorter(subject: ContextNeuronUnderTest) -> None:
    """Shorten every example when it fits already."""
    for neuron, example in _examples(subject):
        whole = await fragment_of_example(neuron, example)
        text = await shortened(neuron, example.ctx, lambda text: True, **example.options)
        need(len(text) <= len(whole), f"the whole is {whole!r}, and shortened it is {text!r}")


def _lengths(whole: int) -> Iterable[int]:
    return range(0, whole, max(1, -(-whole // ALLOWANCES)))


def _at_most(length: int) -> Fits:
    return lambda text: len(text) <= length


KIT: Final = Kit(sys.modules[__name__])
"""The requirements on a context Neuron."""
