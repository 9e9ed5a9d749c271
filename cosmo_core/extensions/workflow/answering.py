"""Answering what Neurons ask back, and asking them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack, cast

import msgspec

from cosmo_core.contracts.clarification import CARRIED
from cosmo_core.errors import MalformedSignalError
from cosmo_core.protocol.payloads import Task, given
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    from cosmo_core.contracts.pathway import Pathway
    from cosmo_core.dendrite.discovery.resolver import Finder
    from cosmo_core.dendrite.dispatch.dispatcher import Dispatcher, TaskOptions
    from cosmo_core.dendrite.transport.link import Link


class AgainOptions(TypedDict, total=False):
    """What may be said, by keyword, of a TASK that is dispatched again.

    Attributes:
        input: What to ask with instead of the input that the request carries; the answer is added to it.
        neuron: Whom to ask; by default the Neuron that asked back.
        context_ref: Instead of that of the TASK before.
        meta: As in `TaskOptions`, and so are ``deadline_s`` and ``scope``. The new TASK has none of those
            of the TASK before.
        finalize: Have the output sent as FINAL, too; by default if the TASK before was to, or ``scope`` is
            ``"terminal"``.
    """

    input: dict[str, Any]
    neuron: str
    context_ref: str | None
    meta: dict[str, Any] | None
    deadline_s: float | None
    scope: Literal["all", "terminal"]
    finalize: bool | None


_OPTIONS: Final = frozenset(AgainOptions.__annotations__)
_RESPOND: Final = {
    SignalType.CLARIFICATION: "answer_clarification or respond_to_clarification",
    SignalType.PERMISSION: "grant_permission, deny_permission or respond_to_permission",
}


class Asking:
    """The part of a Dendrite that answers CLARIFICATION and PERMISSION.

    A request may come from anywhere: from an own dispatch, an observer, or a file. Nothing is kept for it:
    it carries what is needed.
    """

    _link: Link
    _dispatcher: Dispatcher
    _finder: Finder

    # --- for those who watch the trace --------------------------------------------------------------

    async def answer_clarification(self, clarification: Signal, answer: Any) -> Signal:
        """Send CLARIFICATION_ANSWER to all who listen, and return it. No Neuron runs for it.

        Raises:
            MalformedSignalError: ``clarification`` is no CLARIFICATION; nothing was sent.
            CosmoError: Whatever else `emit` raises.
        """
        return await self._emit(_answer(clarification, answer))

    async def grant_permission(
        self, permission: Signal, *, reason: str | None = None, ttl_ms: int | None = None
    ) -> Signal:
        """Send PERMISSION_DECISION to all who listen, and return it. No Neuron runs for it.

        Args:
            permission: The PERMISSION that asks.
            reason: Why.
            ttl_ms: For how many milliseconds this may be relied on; for ever if it is not said.

        Raises:
            MalformedSignalError: ``permission`` is no PERMISSION, or ``ttl_ms`` negative; nothing was sent.
            CosmoError: Whatever else `emit` raises.
        """
        return await self._emit(_decision(permission, granted=True, reason=reason, ttl_ms=ttl_ms))

    async def deny_permission(self, permission: Signal, *, reason: str | None = None) -> Signal:
        """Send PERMISSION_DECISION to all who listen, and return it. Raises as `grant_permission` does."""
        return await self._emit(_decision(permission, granted=False, reason=reason))

    async def _emit(self, answer: Signal) -> Signal:
        await self._dispatcher.emit(answer)
        return answer

    # --- for the Neuron that asked ------------------------------------------------------------------

    async def respond_to_clarification(
        self, clarification: Signal, answer: Any, **task: Unpack[AgainOptions]
    ) -> Pathway:
        """Answer a Neuron's question and dispatch its TASK again, on the same trace.

        CLARIFICATION_ANSWER goes to all who listen. To the list ``input["clarifications"]``, empty at
        first, ``{"question": …, "answer": …}`` is added; the rest of the input is what it was.

        Args:
            clarification: The CLARIFICATION that asks.
            answer: Anything JSON can carry.
            **task: See `AgainOptions`.

        Returns:
            The Pathway of the new TASK; it may be asked back, too.

        Raises:
            MalformedSignalError: ``clarification`` is no CLARIFICATION, or lacks what is needed to ask
                again; the message says which option makes up for it. Nothing was sent.
            NoRouteError: The Neuron is not there; nothing was sent.
            CosmoError: Whatever else `dispatch` raises.
        """
        signal = _answer(clarification, answer)
        entry = {"question": clarification.payload["question"], "answer": answer}
        return await self._respond(signal, _again(clarification, "clarifications", entry, task))

    async def respond_to_permission(
        self, permission: Signal, granted: bool, reason: str | None = None, **task: Unpack[AgainOptions]
    ) -> Pathway:
        """Decide on what a Neuron asks to be allowed, and dispatch its TASK again, on the same trace.

        PERMISSION_DECISION goes to all who listen. To the list ``input["permissions"]``, empty at first,
        ``{"action": …, "scope": …, "granted": …, "reason": …}`` is added; a scope or reason that nobody gave
        is None. Otherwise it is as with `respond_to_clarification`.

        Args:
            permission: The PERMISSION that asks.
            granted: The decision.
            reason: Why.
            **task: See `AgainOptions`.
        """
        signal = _decision(permission, granted=granted, reason=reason)
        asked = permission.payload
        entry = {"action": asked["action"], "scope": asked.get("scope"), "granted": granted, "reason": reason}
        return await self._respond(signal, _again(permission, "permissions", entry, task))

    async def _respond(self, answer: Signal, task: TaskOptions) -> Pathway:
        self._link.check_role(answer.type)
        self._dispatcher.check_running()
        # Asked before anything is sent: nobody shall read an answer that reaches no Neuron.
        await self._finder.route(task.get("neuron"), task.get("capabilities") or ())
        await self._dispatcher.emit(answer)
        return await self._dispatcher.dispatch({**task, "parent_id": answer.id})


# --- the Signals ------------------------------------------------------------------------------------


def _answer(clarification: Signal, answer: Any) -> Signal:
    _check_type(clarification, SignalType.CLARIFICATION)
    return clarification.reply(SignalType.CLARIFICATION_ANSWER, {"answer": answer})


def _decision(permission: Signal, *, granted: bool, reason: str | None, ttl_ms: int | None = None) -> Signal:
    _check_type(permission, SignalType.PERMISSION)
    payload = given(granted=granted, reason=reason, ttl_ms=ttl_ms)
    return permission.reply(SignalType.PERMISSION_DECISION, payload)


def _check_type(request: Signal, type: SignalType) -> None:
    if request.type is not type:
        hint = f"; use {_RESPOND[request.type]}" if request.type in _RESPOND else ""
        raise MalformedSignalError("type", f"{request.id} is a {request.type.value}, no {type.value}{hint}")


# --- the TASK again ---------------------------------------------------------------------------------


def _again(request: Signal, key: str, entry: dict[str, Any], options: AgainOptions) -> TaskOptions:
    if unknown := sorted(options.keys() - _OPTIONS):
        raise TypeError(f"a TASK that is dispatched again takes {sorted(_OPTIONS)}, not {unknown}")
    what = f"{request.type.value} {request.id}"
    task: dict[str, Any] = {**_carried(request), **options, "trace_id": request.trace_id}
    if "input" not in task:
        raise MalformedSignalError("meta.task", f"{what} does not carry the TASK it is about: pass input=")
    if "neuron" not in task:
        if request.directed is None or request.directed.id is None:
            raise MalformedSignalError(
                "directed.id", f"{what} does not name the Neuron that asks: pass neuron="
            )
        task["neuron"] = request.directed.id
    task["input"] = _folded(task["input"], key, entry)
    return cast("TaskOptions", task)


def _carried(request: Signal) -> dict[str, Any]:
    carried: Any = request.meta.get("task")
    try:
        msgspec.convert(carried, Task)
    except msgspec.ValidationError:
        return {}  # Another implementation may use the key for something else.
    return {name: carried[name] for name in CARRIED if name in carried}


def _folded(input: Any, key: str, entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(input, dict):
        raise MalformedSignalError("input", f"the input of a TASK is an object, not {input!r}")
    earlier = input.get(key, [])
    if not isinstance(earlier, list):
        raise MalformedSignalError(
            f"input.{key}",
            f"the answer belongs into a list there, but the TASK has {type(earlier).__name__}: pass input=",
        )
    return {**input, key: [*earlier, entry]}
