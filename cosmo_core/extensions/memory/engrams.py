"""Hosting Engrams: opens them, answers for them, and closes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import Engram
from cosmo_core.dendrite.discovery.hosted_entity import Resident
from cosmo_core.errors import EngramError
from cosmo_core.extensions.memory.hosted_engram import HostedEngram
from cosmo_core.protocol.ids import check_token
from cosmo_core.protocol.signal import Directed, Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.synapse import Subscription
    from cosmo_core.dendrite.dispatch.deadlines import Deadlines
    from cosmo_core.dendrite.hosting.stopped_traces import StoppedTraces
    from cosmo_core.dendrite.transport.link import Link, Receiver, Refuse

CLOSE_TIMEOUT_S: Final = 5.0
"""For how long an Engram may take to close, or to finish what it is asked for before that."""

# No Engram has this id.
_EVERYBODY: Final = "*"

logger = logging.getLogger("cosmo_core.dendrite")


class Engrams:
    """The Engrams attached to one Dendrite.

    Args:
        link: The way to the bus.
        stopped: The traces that were stopped lately.
        deadlines: Those of the Dendrite.
    """

    def __init__(self, link: Link, stopped: StoppedTraces, deadlines: Deadlines) -> None:
        self._link = link
        self._stopped = stopped
        self._deadlines = deadlines
        self._hosted: dict[str, HostedEngram] = {}
        self._intake: dict[str, list[Subscription]] = {}
        # Engrams come at the same time.
        self._turn = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._hosted)

    def attached(self) -> list[Engram]:
        """Return the Engrams attached here."""
        return [hosted.engram for hosted in self._hosted.values()]

    def residents(self) -> list[Resident]:
        """Return the Engrams attached here, as they are announced."""
        return [self.resident(hosted.engram) for hosted in self._hosted.values()]

    def resident(self, engram: Engram) -> Resident:
        """Return an Engram, as it is announced."""
        kind = engram.engram_kind
        directed = Directed(id=engram.engram_id, type=kind, capabilities=(kind,))
        return Resident(engram.engram_id, directed, {"role": "engram", "capabilities": [kind]}, {}, self)

    def serves(self, engram_id: str) -> bool:
        """Tell whether an Engram attached here is served."""
        return engram_id in self._intake

    def load(self, engram_id: str) -> int:
        """Return how many requests an Engram is answering."""
        hosted = self._hosted.get(engram_id)
        return 0 if hosted is None else hosted.load

    # --- coming and going ---------------------------------------------------------------------------

    def attach(self, engram: Engram) -> None:
        """Have ``engram`` ready to be served.

        Raises:
            TypeError: It is no Engram.
            MalformedSignalError: Its id or its kind is no token.
            ValueError: One of this id is attached already.
        """
        if not isinstance(engram, Engram):
            raise TypeError(f"an Engram has all that cosmo_core.Engram has; {engram!r} has not")
        check_token("engram_id", engram.engram_id)
        check_token("engram_kind", engram.engram_kind)
        if engram.engram_id in self._hosted:
            raise ValueError(f"an Engram {engram.engram_id!r} is attached to this Dendrite already")
        self._hosted[engram.engram_id] = HostedEngram(engram, self._link, self._stopped, self._deadlines)

    async def start(self) -> None:
        """Open every Engram attached so far, and listen for what it is asked."""
        for engram_id in list(self._hosted):
            await self.serve(engram_id)

    async def serve(self, engram_id: str) -> None:
        """Open an Engram that is attached, and listen for what it is asked.

        Raises:
            EngramError: It does not open.
            SynapseError: The Synapse would not listen.
        """
        hosted = self._hosted[engram_id]
        try:
            await hosted.engram.connect()
            async with self._turn:
                if _EVERYBODY not in self._intake:
                    self._intake[_EVERYBODY] = await self._listen_for_finals()
                self._intake[engram_id] = await self._listen_for(hosted)
        except BaseException:
            # What was opened must not outlive the failure.
            self._hosted.pop(engram_id, None)
            await _close(hosted)
            raise

    async def _listen_for(self, hosted: HostedEngram) -> list[Subscription]:
        engram_id, subjects = hosted.engram.engram_id, self._link.subjects
        ways: list[tuple[str, Receiver, Refuse | None]] = [
            (subjects.engram(SignalType.RECALL, engram_id), hosted.recall, hosted.refuse),
            (subjects.engram(SignalType.IMPRINT, engram_id), hosted.imprint, hosted.refuse),
            # As other implementations of the protocol address an Engram.
            (subjects.everyone(SignalType.RECALL), hosted.recall_addressed, None),
            (subjects.everyone(SignalType.IMPRINT), hosted.imprint_addressed, None),
        ]
        async with contextlib.AsyncExitStack() as undo:
            subscriptions = []
            for pattern, receive, refuse in ways:
                subscription = await self._link.listen(pattern, receive, queue_group=engram_id, refuse=refuse)
                undo.push_async_callback(self._link.end, subscription)
                subscriptions.append(subscription)
            undo.pop_all()
            return subscriptions

    async def _listen_for_finals(self) -> list[Subscription]:
        subjects = self._link.subjects
        # Those for everybody, and those for the inbox of whoever asked.
        patterns = (subjects.everyone(SignalType.FINAL), subjects.addressed(SignalType.FINAL))
        return [await self._link.listen(pattern, self._commit) for pattern in patterns]

    async def detach(self, engram_id: str) -> None:
        """Take no more for an Engram, let it finish what it has, and close it.

        Raises:
            KeyError: No Engram of this id is served.
        """
        subscriptions = self._intake.pop(engram_id)
        hosted = self._hosted[engram_id]
        try:
            await self._end(hosted, subscriptions)
        finally:
            del self._hosted[engram_id]

    async def close(self) -> None:
        """Take no more, let every Engram finish what it has, and close it; they stay attached."""
        for engram_id, subscriptions in list(self._intake.items()):
            if engram_id == _EVERYBODY:
                for subscription in subscriptions:
                    await self._link.end(subscription)
            else:
                await self._end(self._hosted[engram_id], subscriptions)

    async def _end(self, hosted: HostedEngram, intake: list[Subscription]) -> None:
        try:
            for subscription in intake:
                await self._link.end(subscription)
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await hosted.settle()
        except TimeoutError:
            logger.warning("%r closes with %d requests unanswered", hosted.engram, hosted.load)
        finally:
            await _close(hosted)

    # --- traces end ---------------------------------------------------------------------------------

    def _commit(self, final: Signal) -> Awaitable[None] | None:
        return self._commit_all(final.trace_id)

    async def _commit_all(self, trace_id: str) -> None:
        for hosted in self._undoing():
            try:
                await hosted.engram.commit(trace_id)
            except EngramError as error:
                logger.warning("what %s wrote can still be undone: %s", trace_id, error)

    async def roll_back(self, trace_id: str) -> dict[str, Any]:
        """Undo what a trace wrote, in every Engram here; return what STOPPED says of it (P-14.10)."""
        undone, failed = 0, {}
        for hosted in self._undoing():
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await hosted.settle(trace_id)
                    undone += await hosted.engram.roll_back(trace_id)
            except EngramError as error:
                failed[hosted.engram.engram_id] = str(error)
            except TimeoutError:
                failed[hosted.engram.engram_id] = f"not undone within {CLOSE_TIMEOUT_S} s"
            except Exception as error:
                logger.exception("Engram %r did not undo %s", hosted.engram.engram_id, trace_id)
                failed[hosted.engram.engram_id] = error.__class__.__name__
        return {"rolled_back": undone, "failed": failed} if failed else {"rolled_back": undone}

    def _undoing(self) -> list[HostedEngram]:
        return [
            hosted
            for engram_id, hosted in self._hosted.items()
            if engram_id in self._intake and hosted.engram.guarantees.rollback
        ]


async def _close(hosted: HostedEngram) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await hosted.engram.close()
    except Exception:
        logger.exception("Engram %r did not close cleanly", hosted.engram.engram_id)
