"""Frames reach whoever subscribes to their subject, and nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import SynapseClosedError, SynapseError
from cosmo_testing.conformance.steps import bounded, need
from cosmo_testing.synapses.network import Inbox, listen, refusal, running, send
from cosmo_testing.synapses.requirements import REQUIREMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from hypothesis.strategies import SearchStrategy

    from cosmo_core.contracts.synapse import Synapse
    from cosmo_testing.synapses.subject import SynapseUnderTest

LETTERS: Final = "ABCXYZabcxyz0189_-"
BAD_TOKENS: Final = (
    *("", " ", "a b", "a ", " a", "a\r\nb", "a\n", "a\0", "a\tb", "a/b", "a:b", "a,b", "\x7f"),
    *("**", "a*", "*a", ">>", "a>", "$", "#", "+", "{a}", "a" * 65),
    # Look-alikes: Cyrillic, full width, a soft hyphen, a combining accent, a digit of another script.
    *("\u0430", "\uff41", "a\u00ad", "e\u0301", "\u0661", "\u2024", "\uff0e", "\uff0a", "\ud800"),
)
"""What is no token."""


@REQUIREMENTS.proves("synapse:fan-out")
async def check_fan_out(under_test: SynapseUnderTest) -> None:
    """Subscribe twice on each of three peers, and publish from every one."""
    async with running(under_test, 3) as (network, peers):
        inboxes = [Inbox() for _ in range(6)]
        for number, inbox in enumerate(inboxes):
            await listen(peers[number % 3], "kit.fan", inbox)
        for number, peer in enumerate(peers):
            await send(peer, "kit.fan", b"%d" % number)
        for inbox in inboxes:
            await inbox.until(3)
        await network.settle()
        for inbox in inboxes:
            need(sorted(inbox.frames) == [b"0", b"1", b"2"], f"0, 1 and 2 were sent, and {inbox.frames} came")


@REQUIREMENTS.proves("synapse:wildcards")
async def check_wildcards(under_test: SynapseUnderTest) -> None:
    """Publish every short subject under every short pattern, and compare with what each must match."""
    subjects = [".".join(each) for size in (1, 2, 3, 4) for each in product("ab", repeat=size)]
    async with running(under_test, 2) as (network, (sender, receiver)):
        inboxes = {pattern: Inbox() for pattern in _patterns()}
        for pattern, inbox in inboxes.items():
            await listen(receiver, pattern, inbox)
        for subject in subjects:
            await send(sender, subject, subject.encode())
        for pattern, inbox in inboxes.items():
            await inbox.until(sum(matches(pattern, subject) for subject in subjects))
        await network.settle()
        for pattern, inbox in inboxes.items():
            # A pattern may match what the peers settle with.
            came = sorted(frame.decode() for frame in inbox.frames if frame.decode() in subjects)
            expected = sorted(subject for subject in subjects if matches(pattern, subject))
            need(came == expected, f"{pattern} matched {' '.join(came)}, not {' '.join(expected)}")


def _patterns() -> Iterator[str]:
    for size in (0, 1, 2, 3):
        for tokens in product("ab*", repeat=size):
            if size:
                yield ".".join(tokens)
            if size < 3:
                yield ".".join((*tokens, ">"))


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a pattern matches a subject, in as plain words as there are."""
    head, *rest = pattern.split(".")
    if head == ">":
        return True
    first, _, after = subject.partition(".")
    if head not in {"*", first}:
        return False
    return matches(".".join(rest), after) if rest and after else not rest and not after


@REQUIREMENTS.proves("synapse:isolation")
async def check_isolation(under_test: SynapseUnderTest) -> None:
    """Publish in one of two namespaces, whatever they are called, and listen to all of the other."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.arbitrary import try_each

    token = st.text(LETTERS, min_size=1, max_size=8)
    pairs = st.one_of(
        st.tuples(token, token), token.flatmap(lambda name: st.tuples(st.just(name), _near(name)))
    )

    async with running(under_test, 2) as (_, (sender, receiver)):

        async def keep_apart(names: tuple[str, str]) -> None:
            mine, other = names
            inbox = Inbox()
            subscription = await listen(receiver, f"kit.{mine}.>", inbox)
            for tail in ("x", f"{mine}.x", f"x.{mine}.x"):
                await send(sender, f"kit.{other}.{tail}", b"other")
            await send(sender, f"{mine}.{other}.x", b"other")
            await send(sender, f"kit.{mine}.x", b"mine")
            await inbox.until(1)
            await bounded("unsubscribe()", subscription.unsubscribe())
            need(inbox.frames == [b"mine"], f"kit.{mine}.> got {inbox.frames}, some of it from kit.{other}")

        await try_each(
            pairs.filter(lambda names: names[0] != names[1]), keep_apart, at_least=under_test.cases
        )


def _near(name: str) -> SearchStrategy[str]:
    from hypothesis import strategies as st

    return st.sampled_from(
        [name + "x", "x" + name, name.swapcase(), name[:-1] or "_", name[::-1], f"{name}-"]
    )


@REQUIREMENTS.proves("synapse:malformed-subject")
async def check_malformed_subject(under_test: SynapseUnderTest) -> None:
    """Publish on subjects that are none."""
    subjects = [*_around(BAD_TOKENS), "*", ">", "kit.*", "kit.>", "*.kit", "kit.*.x", "."]
    async with running(under_test, 1) as (network, (synapse,)):
        inbox = Inbox()
        await listen(synapse, ">", inbox)
        await _need_refused(subjects, lambda subject: synapse.publish(subject, b"astray"), "the subject")
        await network.settle()
        await _need_alive(synapse)
        need(b"astray" not in inbox.frames, "a frame on a malformed subject was delivered")


@REQUIREMENTS.proves("synapse:malformed-pattern")
async def check_malformed_pattern(under_test: SynapseUnderTest) -> None:
    """Subscribe to patterns that are none."""
    patterns = [*_around(BAD_TOKENS), ">.kit", "kit.>.x", "kit.>.>", "kit.**", "kit.x*", "."]
    async with running(under_test, 1) as (_, (synapse,)):
        await _need_refused(patterns, lambda pattern: synapse.subscribe(pattern, Inbox()), "the pattern")
        await _need_alive(synapse)


@REQUIREMENTS.proves("synapse:malformed-group")
async def check_malformed_group(under_test: SynapseUnderTest) -> None:
    """Join queue groups whose names are no tokens."""
    groups = [*BAD_TOKENS, "*", ">", "a.b", "."]
    async with running(under_test, 1) as (_, (synapse,)):
        await _need_refused(
            groups,
            lambda group: synapse.subscribe("kit.group", Inbox(), queue_group=group),
            "the queue group",
        )
        await _need_alive(synapse)


def _around(tokens: Iterable[str]) -> Iterator[str]:
    for token in tokens:
        yield from (token, f"kit.{token}", f"{token}.kit", f"kit.{token}.kit")


async def _need_refused(
    names: Iterable[str], use: Callable[[str], Coroutine[Any, Any, object]], what: str
) -> None:
    for name in names:
        error = await refusal(use(name))
        refused = isinstance(error, SynapseError) and not isinstance(error, SynapseClosedError)
        need(refused, f"{what} {name!r} ended in {error!r}, not in a SynapseError")


async def _need_alive(synapse: Synapse) -> None:
    inbox = Inbox()
    await listen(synapse, "kit.alive", inbox)
    await send(synapse, "kit.alive", b"alive")
    await inbox.until(1)
