"""The recorded faults of a provider that speaks HTTP, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cosmo_testing._messages import ReceivedRequest, Response
from cosmo_testing._replies import canned_reply
from cosmo_testing._routes import respond
from cosmo_testing.faults import Fault
from cosmo_testing.sources.faults import FAULTS

if TYPE_CHECKING:
    from cosmo_testing.sources.scenario import Scenario

Answer = Callable[[ReceivedRequest, int], Response]
"""What a healthy provider answers to a request; the number counts the requests, from 1."""


IsCall = Callable[[ReceivedRequest], bool]
"""Tells the calls of a Neuron from the requests around them, such as a handshake."""


def every_request(request: ReceivedRequest) -> bool:
    """Take every request for a call."""
    return True


def chat_answers(*, api_key: str | None = None, reply: Callable[[str], str] = canned_reply) -> Answer:
    """Answer as a `ChatServer` does: OpenAI's chat completions and TGI's native API.

    Args:
        api_key: Refuse requests without it; ``None`` asks for none.
        reply: Makes the answer from the last user message.
    """

    def answer(request: ReceivedRequest, serial: int) -> Response:
        return respond(request, serial=serial, api_key=api_key, reply=reply)

    return answer


def recorded_fault(scenario: Scenario) -> Fault:
    """What goes wrong with the next answer. A fault that is not one of `FAULTS` is left to the answer."""
    recording = FAULTS.get(scenario.fault or "")
    return Fault.none() if recording is None else recording.over_http(scenario.words)
