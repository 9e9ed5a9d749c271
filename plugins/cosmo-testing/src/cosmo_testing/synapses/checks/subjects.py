"""Requirements on subjects: fan-out, wildcards, namespaces and malformed names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Final

from cosmo_core.contracts.synapse import Synapse
from cosmo_core.errors import SynapseClosedError, SynapseError
from cosmo_testing.conformance.kit import requirement
from cosmo_testing.conformance.steps import bounded, need, refusal
from cosmo_testing.synapses.network import Inbox, Network, for_peers, listen, running, send
from cosmo_testing.synapses.subject import QUEUE_GROUPS, SynapseUnderTest

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LETTERS: Final = "ABCXYZabcxyz0189_-"
BAD_TOKENS: Final = (
    *("", " ", "a b", "a ", " a", "a\r\nb", "a\n", "a\0", "a\tb", "a/b", "a:b", "a,b", "\x7f"),
    *("**", "a*", "*a", ">>", "a>", "$", "#", "+", "{a}", "a" * 65),
    # Look-alikes: Cyrillic, full width, a soft hyphen, a combining accent, a digit of another script.
    *("\u0430", "\uff41", "a\u00ad", "e\u0301", "\u0661", "\u2024", "\uff0e", "\uff0a", "\ud800"),
)
"""Names that are not tokens."""


@requirement("synapse:fan-out", "Every subscriber of a subject MUST get its frames, on every peer.")
async def check_fan_out(under_test: SynapseUnderTest) -> None:
    """Subscribe twice on each of three peers, and publish from each."""
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


@for_peers("synapse:wildcards", "`*` MUST match exactly one token, and a final `>` one or more tokens.")
async def check_wildcards(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish every short subject to every short pattern; compare with the expected matches."""
    subjects = [".".join(each) for size in (1, 2, 3, 4) for each in product("ab", repeat=size)]
    inboxes = {pattern: Inbox() for pattern in _patterns()}
    for pattern, inbox in inboxes.items():
        await listen(receiver, pattern, inbox)
    for subject in subjects:
        await send(sender, subject, subject.encode())
    for pattern, inbox in inboxes.items():
        await inbox.until(sum(matches(pattern, subject) for subject in subjects))
    await network.settle()
    for pattern, inbox in inboxes.items():
        # A pattern may match the frames of `settle`.
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
    """Tell whether a pattern matches a subject: the reference implementation."""
    head, *rest = pattern.split(".")
    if head == ">":
        return True
    first, _, after = subject.partition(".")
    if head not in {"*", first}:
        return False
    return matches(".".join(rest), after) if rest and after else not rest and not after


@for_peers(
    "synapse:isolation",
    "A frame MUST NOT reach a pattern of another namespace, however similar the names are.",
)
async def check_isolation(network: Network, sender: Synapse, receiver: Synapse) -> None:
    """Publish in one of two namespaces with generated names, and subscribe to all of the other."""
    from hypothesis import strategies as st

    from cosmo_testing.conformance.properties import try_each

    token = st.text(LETTERS, min_size=1, max_size=8)
    pairs = st.one_of(
        st.tuples(token, token), token.flatmap(lambda name: st.tuples(st.just(name), _near(name)))
    )

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
        pairs.filter(lambda names: names[0] != names[1]), keep_apart, at_least=network.under_test.cases
    )


def _near(name: str) -> SearchStrategy[str]:
    from hypothesis import strategies as st

    return st.sampled_from(
        [name + "x", "x" + name, name.swapcase(), name[:-1] or "_", name[::-1], f"{name}-"]
    )


@for_peers(
    "synapse:malformed-subject",
    "`publish` MUST refuse a malformed subject, and a pattern, with a SynapseError.",
)
async def check_malformed_subject(network: Network, synapse: Synapse) -> None:
    """Publish on malformed subjects."""
    subjects = [*_around(BAD_TOKENS), "*", ">", "kit.*", "kit.>", "*.kit", "kit.*.x", "."]
    inbox = Inbox()
    await listen(synapse, ">", inbox)
    await _need_refused(subjects, lambda subject: synapse.publish(subject, b"astray"), "the subject")
    await network.settle()
    await _need_alive(synapse)
    need(b"astray" not in inbox.frames, "a frame on a malformed subject was delivered")


@for_peers("synapse:malformed-pattern", "`subscribe` MUST refuse a malformed pattern with a SynapseError.")
async def check_malformed_pattern(network: Network, synapse: Synapse) -> None:
    """Subscribe to malformed patterns."""
    patterns = [*_around(BAD_TOKENS), ">.kit", "kit.>.x", "kit.>.>", "kit.**", "kit.x*", "."]
    await _need_refused(patterns, lambda pattern: synapse.subscribe(pattern, Inbox()), "the pattern")
    await _need_alive(synapse)


@for_peers(
    "synapse:malformed-group",
    "`subscribe` MUST refuse a queue group whose name is not a token, with a SynapseError.",
    when=[QUEUE_GROUPS],
)
async def check_malformed_group(network: Network, synapse: Synapse) -> None:
    """Join queue groups whose names are not tokens."""
    groups = [*BAD_TOKENS, "*", ">", "a.b", "."]
    await _need_refused(
        groups,
        lambda group: synapse.subscribe("kit.group", Inbox(), queue_group=group),
        "the queue group",
    )
    await _need_alive(synapse)


def _around(tokens: Iterable[str]) -> Iterator[str]:
    for token in tokens:
        yield from (token, f"kit.{token}", f"{token}.kit", f"kit.{token}.kit")


async def _need_refused(names: Iterable[str], use: Callable[[str], Awaitable[object]], what: str) -> None:
    for name in names:
        error = await refusal(use(name))
        refused = isinstance(error, SynapseError) and not isinstance(error, SynapseClosedError)
        need(refused, f"{what} {name!r} ended in {error!r}, not in a SynapseError")


async def _need_alive(synapse: Synapse) -> None:
    inbox = Inbox()
    await listen(synapse, "kit.alive", inbox)
    await send(synapse, "kit.alive", b"alive")
    await inbox.until(1)
