"""Requests that a Neuron returns, and the Signals that an Axon makes of them."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from cosmo_core import AskBack, Axon, Directed, Signal, SignalType, ask_permission, clarify, encode
from cosmo_core.contracts.axon import Emitter


class Port:
    """A port that ignores emitted Signals."""

    def emitter(self, task: Signal, type: SignalType) -> Emitter:
        return lambda signal: None

    def error_payload(self, error: BaseException, task: Signal) -> dict[str, Any]:
        raise AssertionError from error


class Output(TypedDict):
    response: str


async def answer(output: Any, payload: dict[str, Any] | None = None, **axon: Any) -> Signal:
    """Return the answer of an Axon whose Neuron returns ``output``."""

    async def returns(input: dict[str, Any], context: list[Any]) -> Any:
        return output

    task = Signal.new(SignalType.TASK, {"input": {}, **(payload or {})})
    signal = await Axon(neuron_id="asker", neuron_fn=returns, **axon).answer(task, Port())
    assert (signal.trace_id, signal.parent_id) == (task.trace_id, task.id)
    return signal


CLARIFICATIONS = [
    (clarify("which?"), {"question": "which?"}),
    (clarify("which?", context=["a", "b"]), {"question": "which?", "context": ["a", "b"]}),
    ({"__clarification__": True, "question": "which?", "context": None}, {"question": "which?"}),
    ({"__clarification__": True, "question": "q", "mine": 1}, {"question": "q", "mine": 1}),
]
PERMISSIONS = [
    (ask_permission("delete"), {"action": "delete"}),
    (
        ask_permission("delete", scope=["/data/a"], reason="full"),
        {"action": "delete", "scope": ["/data/a"], "reason": "full"},
    ),
    (
        {"__permission__": True, "action": "delete", "scope": "all", "reason": None},
        {"action": "delete", "scope": "all"},
    ),
]


@pytest.mark.clause("P-8.3")
@pytest.mark.parametrize(("returned", "payload"), CLARIFICATIONS)
async def test_question_becomes_clarification(returned: Any, payload: dict[str, Any]) -> None:
    signal = await answer(returned)
    assert (signal.type, signal.payload) == (SignalType.CLARIFICATION, payload)


@pytest.mark.clause("P-8.3")
@pytest.mark.parametrize(("returned", "payload"), PERMISSIONS)
async def test_request_becomes_permission(returned: Any, payload: dict[str, Any]) -> None:
    signal = await answer(returned)
    assert (signal.type, signal.payload) == (SignalType.PERMISSION, payload)


@pytest.mark.clause("P-8.2")
@pytest.mark.parametrize("returned", [clarify("which?"), {"__permission__": True, "action": "delete"}])
async def test_request_names_neuron_and_carries_task(returned: Any) -> None:
    carried = {"input": {"prompt": "hi"}, "context_ref": "c", "capabilities": ["text"], "finalize": True}
    signal = await answer(returned, {**carried, "deadline_ms": 2**53 - 1, "other": 1})
    assert signal.directed == Directed("asker")
    assert signal.meta == {"task": carried, "asked": signal.meta["asked"]}


@pytest.mark.clause("P-8.2")
async def test_request_carries_only_set_task_fields() -> None:
    signal = await answer(clarify("which?"), {"context_ref": None})
    assert signal.meta == {"task": {"input": {}}, "asked": signal.meta["asked"]}


@pytest.mark.parametrize("returned", [returned for returned, _ in [*CLARIFICATIONS, *PERMISSIONS]])
async def test_request_is_not_checked_against_output_type(returned: Any) -> None:
    assert (await answer(returned, output_type=Output)).type is not SignalType.ERROR
    assert (await answer({"wrong": 1}, output_type=Output)).payload["code"] == "OUTPUT_INVALID"


@pytest.mark.clause("P-8.3")
@pytest.mark.parametrize(
    "output",
    [
        {"question": "which?"},
        {"__clarification__": False, "question": "which?"},
        {"__permission__": "True", "action": "delete"},
        {"__error__": 1},
        {"response": {"__clarification__": True, "question": "which?"}},
    ],
)
async def test_unmarked_output_is_agent_output(output: dict[str, Any]) -> None:
    signal = await answer(output)
    assert (signal.type, signal.payload) == (SignalType.AGENT_OUTPUT, {"output": output})
    assert signal.meta == {}


@pytest.mark.clause("P-8.3")
@pytest.mark.parametrize(
    ("output", "payload"),
    [
        (
            {"__error__": True, "code": "QUOTA", "message": "used up", "recoverable": True},
            {"code": "QUOTA", "message": "used up", "recoverable": True},
        ),
        (
            {"__error__": True, "message": "broken"},
            {"code": "NEURON_ERROR", "message": "broken", "recoverable": False},
        ),
        (
            {"__clarification__": True, "__error__": True, "question": "which?", "message": "first"},
            {"code": "NEURON_ERROR", "message": "first", "recoverable": False},
        ),
    ],
)
async def test_neuron_can_return_error(output: dict[str, Any], payload: dict[str, Any]) -> None:
    signal = await answer(output)
    assert (signal.type, signal.payload) == (SignalType.ERROR, payload)


@pytest.mark.clause("P-8.3")
async def test_clarification_takes_precedence_over_permission() -> None:
    both = {"__permission__": True, "__clarification__": True, "question": "which?", "action": "delete"}
    assert (await answer(both)).type is SignalType.CLARIFICATION


@pytest.mark.clause("P-8.4")
@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (clarify(7), "payload.question: Expected `str`, got `int`"),  # type: ignore[arg-type]
        ({"__clarification__": True}, "payload.question: Object missing required field `question`"),
        ({"__permission__": True, "action": None}, "payload.action: Object missing"),
        (ask_permission("delete", reason=1), "payload.reason: Expected `str"),  # type: ignore[arg-type]
        ({"__error__": True, "code": "C"}, "payload.message: Object missing"),
        ({"__error__": True, "message": "m", "recoverable": "no"}, "payload.recoverable: Expected `bool`"),
    ],
)
async def test_invalid_request_is_error_that_names_key(returned: Any, named: str) -> None:
    signal = await answer(returned)
    assert signal.payload["code"] == "OUTPUT_INVALID"
    assert named in signal.payload["message"]


def test_repr_of_request_hides_content() -> None:
    assert "secret" not in repr(clarify("secret?", context="secret"))


async def test_answer_does_not_mutate_returned_object() -> None:
    returned = {"__clarification__": True, "question": "which?"}
    encode(await answer(returned))
    assert returned == {"__clarification__": True, "question": "which?"}
    assert clarify("which?") == AskBack(SignalType.CLARIFICATION, {"question": "which?"})
