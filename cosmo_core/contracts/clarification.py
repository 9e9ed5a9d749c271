"""Asking back: what a Neuron returns when it cannot answer before it is answered itself."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from cosmo_core.errors import NeuronError
from cosmo_core.protocol.payloads import PAYLOADS, without_none
from cosmo_core.protocol.signal import Signal, address, new_unvalidated, payload_error
from cosmo_core.protocol.signal_type import SignalType

ASKING_TYPES: Final = frozenset({SignalType.CLARIFICATION, SignalType.PERMISSION})
"""What a Neuron asks back with."""

CARRIED: Final = ("input", "context_ref", "capabilities", "finalize")
"""What of a TASK travels in ``meta.task`` of the Signal that asks back, so that anybody can ask again."""

_MARKERS: Final = {
    "__error__": SignalType.ERROR,
    "__clarification__": SignalType.CLARIFICATION,
    "__permission__": SignalType.PERMISSION,
}


@attrs.frozen
class AskBack:
    """What a Neuron returns instead of an output. Make one with `clarify` or `ask_permission`."""

    type: SignalType
    payload: dict[str, Any] = attrs.field(repr=False)


def clarify(question: str, context: Any = None) -> AskBack:
    """Return, from a Neuron, a question to whoever gave it the TASK.

    The TASK ends with CLARIFICATION (P-8.1). Who answers by `Dendrite.respond_to_clarification` runs the
    Neuron again, on the same input and one more entry in ``input["clarifications"]``:
    ``{"question": …, "answer": …}``. The entries are in the order of the answers.

    The input travels as it is when the Neuron asks: what the Neuron changed in it stays changed.

    Args:
        question: What to ask.
        context: Whatever helps to answer it: anything JSON can carry.
    """
    return AskBack(SignalType.CLARIFICATION, without_none(question=question, context=context))


def ask_permission(action: str, scope: Any = None, reason: str | None = None) -> AskBack:
    """Return, from a Neuron, a request to be allowed an action.

    The TASK ends with PERMISSION. Who decides by `Dendrite.respond_to_permission` runs the Neuron again,
    on the same input and one more entry in ``input["permissions"]``:
    ``{"action": …, "scope": …, "granted": …, "reason": …}``, where the reason is that of the decision.
    Otherwise it is as with `clarify`.

    Args:
        action: What the Neuron wants to do.
        scope: To what: anything JSON can carry.
        reason: Why.
    """
    return AskBack(SignalType.PERMISSION, without_none(action=action, scope=scope, reason=reason))


# --- the Axon's side --------------------------------------------------------------------------------


def marked(output: dict[str, Any]) -> AskBack | None:
    """Return what a dictionary asks that is marked as asking back; None for an ordinary output.

    The marker is one of ``__error__``, ``__clarification__`` and ``__permission__``, and it is True; of
    several, the first of these counts. The other keys are the payload.

    Raises:
        NeuronError: The marker is ``__error__``: it stands for this.
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


def asked_back(task: Signal, neuron_id: str, request: AskBack) -> Signal:
    """Return the Signal that answers ``task`` with what its Neuron asks.

    Raises:
        NeuronError: The Neuron asked for nothing that can be put into such a Signal.
    """
    _check(request.type, request.payload)
    carried = {key: task.payload[key] for key in CARRIED if task.payload.get(key) is not None}
    return new_unvalidated(
        request.type,
        request.payload,
        trace_id=task.trace_id,
        parent_id=task.id,
        directed=address(neuron_id),
        meta={"task": carried},
    )


def _check(type: SignalType, payload: dict[str, Any]) -> None:
    try:
        msgspec.convert(payload, PAYLOADS[type])
    except msgspec.ValidationError as error:
        message = f"the Neuron returned a {type.value} that is wrong: {payload_error(type, error)}"
        raise NeuronError(message, code="OUTPUT_INVALID") from None
