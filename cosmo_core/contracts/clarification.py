"""Clarifications and permissions: a Neuron returns a question instead of an output."""

from __future__ import annotations

from binascii import crc32
from typing import Any, Final

import msgspec

from cosmo_core.errors import NeuronError
from cosmo_core.protocol.payloads import PAYLOADS, without_none
from cosmo_core.protocol.signal import Signal, address, new_unvalidated, payload_error
from cosmo_core.protocol.signal_type import SignalType

ASKING_TYPES: Final = frozenset({SignalType.CLARIFICATION, SignalType.PERMISSION})
"""The types of a question from a Neuron."""

CARRIED: Final = ("input", "context_ref", "capabilities", "finalize")
"""The payload keys of a TASK that ``meta.task`` of the question carries, to dispatch the TASK again."""

MAX_SAME_QUESTION: Final = 10
"""How many answers to one question a Neuron may get; asking once more is ERROR ``ASKED_AGAIN`` (P-8.9).

Without it, a Neuron that does not read the answer and a program that always gives it would never end.
"""

MAX_QUESTIONS: Final = 1_000
"""How many answers to different questions a Neuron may get; asking once more is the same ERROR (P-8.9).

It ends the same, if the Neuron puts a number or the time into its question.
"""

_MARKERS: Final = {
    "__error__": SignalType.ERROR,
    "__clarification__": SignalType.CLARIFICATION,
    "__permission__": SignalType.PERMISSION,
}


class AskBack(msgspec.Struct, frozen=True):
    """A question that a Neuron returns instead of an output. Make one with `clarify` or `ask_permission`.

    ``repr`` does not show the payload, which may be private.
    """

    type: SignalType
    payload: dict[str, Any]

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("type", self.type)]

    def __repr__(self) -> str:
        return f"AskBack(type={self.type!r})"


def clarify(question: str, context: Any = None) -> AskBack:
    """Make a question to the sender of the TASK; the Neuron returns it.

    The TASK ends with CLARIFICATION (P-8.1). `Dendrite.respond_to_clarification` runs the Neuron again, with
    the same input and one more entry in ``input["clarifications"]``: ``{"question": …, "answer": …}``. The
    entries are in the order of the answers. A type of the input that is not a TypedDict declares the key.

    The question carries the input with all changes that the Neuron made to it. A question that was answered
    `MAX_SAME_QUESTION` times and is asked once more is ERROR ``ASKED_AGAIN``, and so is any question after
    `MAX_QUESTIONS`.

    Args:
        question: The question.
        context: Further information for the answer: any JSON value.
    """
    return AskBack(SignalType.CLARIFICATION, without_none(question=question, context=context))


def ask_permission(action: str, scope: Any = None, reason: str | None = None) -> AskBack:
    """Make a request for permission; the Neuron returns it.

    The TASK ends with PERMISSION. `Dendrite.respond_to_permission` runs the Neuron again, with the same input
    and one more entry in ``input["permissions"]``:
    ``{"action": …, "scope": …, "granted": …, "reason": …}``, where the reason is that of the decision.
    Otherwise it works as `clarify` does.

    Args:
        action: The action.
        scope: The object of the action: any JSON value.
        reason: The reason for the request.
    """
    return AskBack(SignalType.PERMISSION, without_none(action=action, scope=scope, reason=reason))


# --- for the Axon -----------------------------------------------------------------------------------


def parse_question(output: dict[str, Any]) -> AskBack | None:
    """Return the question in a dictionary that is marked as one; None for an ordinary output.

    The marker is the value True under ``__error__``, ``__clarification__`` or ``__permission__``; of several,
    the first of these counts. The other keys are the payload.

    Raises:
        NeuronError: The marker is ``__error__``.
    """
    type = next((type for marker, type in _MARKERS.items() if output.get(marker) is True), None)
    if type is None:
        return None
    payload = {key: value for key, value in output.items() if key not in _MARKERS and value is not None}
    if type is not SignalType.ERROR:
        return AskBack(type, payload)
    payload = {"code": "NEURON_ERROR", "recoverable": False, **payload}
    _check(type, payload)
    raise NeuronError(payload["message"], code=payload["code"], recoverable=payload["recoverable"])


def question_reply(task: Signal, neuron_id: str, request: AskBack) -> Signal:
    """Make the Signal that answers ``task`` with its Neuron's question.

    Raises:
        NeuronError: The payload of the question does not fit its type, or it was asked too often.
    """
    _check(request.type, request.payload)
    carried = {key: task.payload[key] for key in CARRIED if task.payload.get(key) is not None}
    return new_unvalidated(
        request.type,
        request.payload,
        trace_id=task.trace_id,
        parent_id=task.id,
        directed=address(neuron_id),
        meta={"task": carried, "asked": _asked(task, neuron_id, request)},
    )


def _asked(task: Signal, neuron_id: str, request: AskBack) -> list[int]:
    """Return the checksums of the questions that were asked and answered before, and of this one."""
    payload, earlier = request.payload, task.meta.get("asked")
    question = crc32(repr([payload.get(key) for key in ("question", "action", "scope")]).encode())
    asked = [*(earlier if isinstance(earlier, list) else ()), question]
    if (same := asked.count(question)) > MAX_SAME_QUESTION or len(asked) > MAX_QUESTIONS:
        text = payload.get("question", payload.get("action"))
        again = "again " if same > MAX_SAME_QUESTION else ""
        answers = MAX_SAME_QUESTION if again else len(asked) - 1
        raise NeuronError(
            f"Neuron {neuron_id!r} asked {text!r:.100} {again}after {answers} answers: it has to"
            " read them from the list 'clarifications' or 'permissions' of its input",
            code="ASKED_AGAIN",
        )
    return asked


def _check(type: SignalType, payload: dict[str, Any]) -> None:
    try:
        msgspec.convert(payload, PAYLOADS[type])
    except msgspec.ValidationError as error:
        message = f"the Neuron returned an invalid {type.value}: {payload_error(type, error)}"
        raise NeuronError(message, code="OUTPUT_INVALID") from None
