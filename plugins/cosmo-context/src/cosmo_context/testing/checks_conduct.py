"""A context Neuron serves many at once, and ends when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cosmo_context.testing.asking import fragment_of, fragment_of_example
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from cosmo_context.neuron import Neuron
    from cosmo_context.testing.subject import ContextNeuronUnderTest, Example

AT_ONCE: Final = 4
"""How often each Context is asked for at once."""
TURNS: Final = 16
"""At how many places of its way a Neuron is cancelled: after each of the loop's first turns."""
CANCEL_S: Final = 2.0
"""For how long a cancelled Neuron may go on."""


@REQUIREMENTS.proves("context:concurrent")
async def check_concurrent(subject: ContextNeuronUnderTest) -> None:
    """Ask one instance with all Contexts at once, and compare with what each gives alone."""
    neuron = subject.neuron()
    asked = [(each.ctx, each.options) for each in subject.examples()]
    asked = [*asked, (subject.nothing_to_say(), {})] * AT_ONCE
    alone = [await fragment_of(neuron, ctx, **options) for ctx, options in asked]
    need(len(set(alone)) > 1, f"examples() and nothing_to_say() all give {alone[0]!r}: add another example")
    calls = (fragment_of(neuron, ctx, **options) for ctx, options in asked)
    together = await asyncio.gather(*calls, return_exceptions=True)
    for fragment in together:
        if isinstance(fragment, BaseException):
            raise fragment
    need(together == alone, f"alone {alone!r}, together {together!r}")


@REQUIREMENTS.proves("context:any-loop")
async def check_any_loop(subject: ContextNeuronUnderTest) -> None:
    """Ask one instance in two event loops, of which the first has ended."""
    neuron = subject.neuron()
    for example in subject.examples():
        first, second = [await asyncio.to_thread(_in_a_loop, neuron, example) for _ in range(2)]
        need(first == second, f"one loop gets {first!r}, the next {second!r}")


@REQUIREMENTS.proves("context:cancel-prompt")
async def check_cancel_prompt(subject: ContextNeuronUnderTest) -> None:
    """Cancel it at every place where it waits."""
    neuron = subject.neuron()
    for example in subject.examples():
        for turns in range(TURNS):
            if (asked := await _cancelled(neuron, example, turns)) is None:
                break
            need(asked.done(), f"a cancelled format() still runs after {CANCEL_S:g} s")
            need(asked.cancelled(), f"a cancelled format() {_outcome(asked)}")


@REQUIREMENTS.proves("context:usable-after-cancel")
async def check_usable_after_cancel(subject: ContextNeuronUnderTest) -> None:
    """Cancel it at every place where it waits, and ask again."""
    neuron = subject.neuron()
    for example in subject.examples():
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
    """Cancel a Neuron after so many turns of the loop; None when it has given its fragment by then."""
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
        # Nobody waits for one that did not obey the first time.
        asked.cancel()
    return asked


def _outcome(asked: asyncio.Task[str]) -> str:
    if asked.cancelled():
        return "ended as cancelled"
    error = asked.exception()
    return f"gave {asked.result()!r}" if error is None else f"raised {type(error).__name__}: {error}"
