"""Memory, as those see it who recall and imprint: one Engram, or all of a kind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.engram import EngramBinding, Hit, ImprintReceipt, Outcome, RecallResult, joined
from cosmo_core.contracts.engram.binding import RECALL_MODES
from cosmo_core.contracts.engram.checks import invalid
from cosmo_core.contracts.engram.write import OPS
from cosmo_core.errors import CosmoError, EngramError, EngramNotBound, EngramTimeout, NoRouteError
from cosmo_core.protocol.payloads import given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Cause, RecallMode
    from cosmo_core.dendrite.discovery.directory import View
    from cosmo_core.dendrite.discovery.resolver import Finder
    from cosmo_core.extensions.memory.requests import Requests


class Memory:
    """Recalls and imprints for one Dendrite.

    Args:
        requests: Asks one Engram.
        view: The Engrams of the namespace.
        finder: Finds those that are not in the view.
    """

    def __init__(self, requests: Requests, view: View, finder: Finder) -> None:
        self._requests = requests
        self._view = view
        self._finder = finder
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Serve threads, too, from now on."""
        self._loop = asyncio.get_running_loop()

    def from_thread(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the event loop, and return its result to the thread that waits for it.

        Raises:
            RuntimeError: The caller is in the event loop: it would wait for itself.
        """
        if self._loop is None or self._loop is _running_loop():
            work.close()
            raise RuntimeError(
                "a Neuron that is a plain function calls recall and imprint from its own thread only; make it"
                " `async def`, and await them"
            )
        # What the thread knows of its TASK goes along.
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def recall(
        self,
        binding: EngramBinding,
        query: Mapping[str, Any],
        mode: RecallMode | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> RecallResult:
        """Ask the Engrams of a binding; see `RecallFn`."""
        mode = mode or binding.recall_mode
        if mode not in RECALL_MODES:
            raise invalid(f"mode is one of {', '.join(RECALL_MODES)}, not {mode!r}")
        timeout_s = _time(binding, timeout_s, cause)
        payload = {"query": query, "recall_mode": mode}
        if binding.directed_type is None:
            return await self._recall_one(binding.directed_id or "", payload, timeout_s, cause)
        engrams = await self._of_kind(binding.directed_type)
        asking = {engram: self._outcome(engram, payload, timeout_s, cause) for engram in engrams}
        outcomes = await _asked(asking, until_first=mode == "first")
        answers = [each for each in outcomes.values() if isinstance(each, RecallResult)]
        if mode == "first" and answers:
            return answers[0]
        return joined(outcomes, query if mode == "merge" else None)

    async def _outcome(
        self, engram_id: str, payload: dict[str, Any], timeout_s: float, cause: Cause
    ) -> Outcome:
        try:
            return await self._recall_one(engram_id, payload, timeout_s, cause)
        except CosmoError as error:
            return error

    async def _recall_one(
        self, engram_id: str, payload: dict[str, Any], timeout_s: float, cause: Cause
    ) -> RecallResult:
        ask = self._requests.ask
        answer = await ask(SignalType.RECALL, engram_id, payload, timeout_s, cause.trace_id, cause.parent_id)
        return RecallResult(_hits(engram_id, answer), answer.payload["truncated"], (engram_id,))

    async def imprint(
        self,
        binding: EngramBinding,
        op: str,
        entry: Mapping[str, Any] | None,
        merge_key: str | None,
        imprint_id: str | None,
        timeout_s: float | None,
        cause: Cause,
    ) -> ImprintReceipt:
        """Write to the Engram of a binding; see `ImprintFn`."""
        # What breaks the protocol nobody would answer; everything else the Engram's host checks.
        if op not in OPS:
            raise invalid(f"op is one of {', '.join(OPS)}, not {op!r}")
        for name, value in (("merge_key", merge_key), ("imprint_id", imprint_id)):
            if not isinstance(value, str | None):
                raise invalid(f"{name} is text, not {value!r}")
        engram_id = binding.directed_id or await self._only(binding)
        timeout_s = _time(binding, timeout_s, cause)
        payload = {
            "op": op,
            "entry": {} if entry is None else entry,
            **given(merge_key=merge_key, imprint_id=imprint_id),
        }
        ask = self._requests.ask
        answer = await ask(SignalType.IMPRINT, engram_id, payload, timeout_s, cause.trace_id, cause.parent_id)
        told = answer.payload
        return ImprintReceipt(engram_id, told["op"], told.get("id"), told.get("version"))

    async def _only(self, binding: EngramBinding) -> str:
        kind = binding.directed_type or ""
        engrams = await self._of_kind(kind)
        if len(engrams) > 1:
            raise EngramNotBound(
                f"{binding.name!r} is bound to the kind {kind!r}, of which there are {', '.join(engrams)}:"
                " give its EngramBinding a directed_id to say which one is written to"
            )
        return engrams[0]

    async def _of_kind(self, kind: str) -> list[str]:
        try:
            await self._finder.route(None, (kind,))
        except NoRouteError as error:
            raise EngramError(str(error), code="ENGRAM_NO_ROUTE", recoverable=True) from None
        return list(dict.fromkeys(record.neuron_id for record in self._view.records(kind)))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _time(binding: EngramBinding, timeout_s: float | None, cause: Cause) -> float:
    """Return for how long to wait: not longer than the answer to the TASK is of use."""
    allowed = binding.timeout_s if timeout_s is None else timeout_s
    if allowed <= 0:
        raise EngramTimeout(f"{binding.name!r} was asked with no time left")
    if cause.time_left_s is None or allowed <= cause.time_left_s:
        return allowed
    if cause.time_left_s <= 0:
        raise EngramTimeout(f"{binding.name!r} was not asked: the TASK's deadline has passed")
    return cause.time_left_s


def _hits(engram_id: str, recalled: Signal) -> list[Hit]:
    hits = recalled.payload["hits"]
    try:
        found = [Hit(hit["id"], hit["entry"], hit.get("score", 1.0), engram_id) for hit in hits]
    except (AttributeError, KeyError, TypeError):
        found = []
    if len(found) < len(hits) or not all(type(hit.entry) is dict for hit in found):
        raise EngramError(f"Engram {engram_id!r} answered with hits that have no id and entry")
    return found


async def _asked(
    asking: Mapping[str, Coroutine[Any, Any, Outcome]], *, until_first: bool
) -> dict[str, Outcome]:
    """Return what became of each, by id; or of each that ended until the first answer came."""
    outcomes: dict[str, Outcome] = {}
    async with asyncio.TaskGroup() as group:
        works = {group.create_task(work): engram for engram, work in asking.items()}
        pending, when = set(works), asyncio.FIRST_COMPLETED if until_first else asyncio.ALL_COMPLETED
        while pending:
            done, pending = await asyncio.wait(pending, return_when=when)
            outcomes.update((works[work], work.result()) for work in done)
            if until_first and any(isinstance(outcome, RecallResult) for outcome in outcomes.values()):
                for work in pending:
                    work.cancel()
                break
    return {engram: outcomes[engram] for engram in asking if engram in outcomes}
