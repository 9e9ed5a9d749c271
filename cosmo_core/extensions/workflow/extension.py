"""The extension ``workflow``: emits Signals that describe a workflow, and answers questions of Neurons."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from cosmo_core.arguments import check_options
from cosmo_core.contracts.clarification import CARRIED
from cosmo_core.contracts.options import EmitOptions, ResponseOptions, TaskOptions
from cosmo_core.contracts.pathway import Pathway
from cosmo_core.dendrite.extension import Extension
from cosmo_core.errors import MalformedSignalError
from cosmo_core.protocol.payloads import Task, without_none
from cosmo_core.protocol.signal import Signal, check_signal
from cosmo_core.protocol.signal_type import SignalType

_RESPOND: Final = {
    SignalType.CLARIFICATION: "answer_clarification or respond_to_clarification",
    SignalType.PERMISSION: "grant_permission, deny_permission or respond_to_permission",
}


class Workflow(Extension):
    """The workflow Signals of one Dendrite; the methods of `Dendrite` that use it are the manual.

    A CLARIFICATION or PERMISSION may come from a dispatch, an observer, or a file. It carries all that is
    needed to answer it, so nothing is stored for it.
    """

    name = "workflow"

    async def emit_on_trace(
        self,
        type: SignalType,
        trace_id: str,
        required: dict[str, Any],
        options: EmitOptions,
        **optional: Any,
    ) -> Signal:
        """Make a Signal, send it to all listeners, and return it. Optional keys that are None are omitted."""
        check_options(f"emit_{type.value.lower()}", options, {*EmitOptions.__annotations__, *optional})
        return await self._emit(
            Signal.new(type, required | without_none(**optional), trace_id=trace_id, **options)
        )

    async def _emit(self, signal: Signal) -> Signal:
        await self.ports.emit(signal)
        return signal

    # --- answers that observers of the trace read ---------------------------------------------------

    async def answer_clarification(self, clarification: Signal, answer: Any) -> Signal:
        """See `Dendrite.answer_clarification`."""
        return await self._emit(_answer(clarification, answer))

    async def decide_permission(
        self, permission: Signal, granted: bool, reason: str | None, ttl_ms: int | None
    ) -> Signal:
        """See `Dendrite.grant_permission`."""
        return await self._emit(_decision(permission, granted=granted, reason=reason, ttl_ms=ttl_ms))

    # --- answers to the Neuron that asked -----------------------------------------------------------

    async def respond_to_clarification(
        self, clarification: Signal, answer: Any, task: ResponseOptions
    ) -> Pathway:
        """See `Dendrite.respond_to_clarification`."""
        signal = _answer(clarification, answer)
        entry = {"question": clarification.payload["question"], "answer": answer}
        return await self._respond(signal, _again(clarification, "clarifications", entry, task))

    async def respond_to_permission(
        self, permission: Signal, granted: bool, reason: str | None, task: ResponseOptions
    ) -> Pathway:
        """See `Dendrite.respond_to_permission`."""
        signal = _decision(permission, granted=granted, reason=reason)
        asked = permission.payload
        entry = {"action": asked["action"], "scope": asked.get("scope"), "granted": granted, "reason": reason}
        return await self._respond(signal, _again(permission, "permissions", entry, task))

    async def _respond(self, answer: Signal, task: TaskOptions) -> Pathway:
        self.ports.check_role(answer.type)
        self.ports.check_dispatching()
        # Resolved first: without a Neuron no answer must be sent.
        await self.ports.resolve(task.get("neuron"), task.get("capabilities") or ())
        await self.ports.emit(answer)
        return await self.ports.dispatch({**task, "parent_id": answer.id})


# --- the Signals ------------------------------------------------------------------------------------


def _answer(clarification: Signal, answer: Any) -> Signal:
    _check_type(clarification, SignalType.CLARIFICATION)
    return clarification.reply(SignalType.CLARIFICATION_ANSWER, {"answer": answer})


def _decision(permission: Signal, *, granted: bool, reason: str | None, ttl_ms: int | None = None) -> Signal:
    _check_type(permission, SignalType.PERMISSION)
    payload = without_none(granted=granted, reason=reason, ttl_ms=ttl_ms)
    return permission.reply(SignalType.PERMISSION_DECISION, payload)


def _check_type(request: Signal, type: SignalType) -> None:
    check_signal(type.value.lower(), request)
    if request.type is not type:
        hint = f"; use {_RESPOND[request.type]}" if request.type in _RESPOND else ""
        raise MalformedSignalError(
            "type", f"{request.id} is a {request.type.value}, not a {type.value}{hint}"
        )


# --- the TASK again ---------------------------------------------------------------------------------


def _again(request: Signal, key: str, entry: dict[str, Any], options: ResponseOptions) -> TaskOptions:
    check_options("a TASK that is dispatched again", options, ResponseOptions.__annotations__)
    what = f"{request.type.value} {request.id}"
    task: dict[str, Any] = {**_carried(request), **options, "trace_id": request.trace_id}
    if "input" not in task:
        raise MalformedSignalError("meta.task", f"{what} does not carry its TASK: pass input=")
    if "neuron" not in task:
        if request.directed is None or request.directed.id is None:
            raise MalformedSignalError(
                "directed.id", f"{what} does not name the Neuron that asks: pass neuron="
            )
        task["neuron"] = request.directed.id
    task["input"] = _folded(task["input"], key, entry)
    if "asked" in request.meta:
        task["meta"] = {**(task.get("meta") or {}), "asked": request.meta["asked"]}
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
            f"the answer is added to a list there, but the TASK has {type(earlier).__name__}: pass input=",
        )
    return {**input, key: [*earlier, entry]}
