"""An echo in autogen-core, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

from tests.bench.bus import INPUT, NEURON

_ADDRESS: Final = AgentId(NEURON, "default")


@dataclass
class Prompt:
    """What the agent gets."""

    prompt: str


@dataclass
class Response:
    """What the agent answers."""

    response: str


class Greeter(RoutedAgent):  # type: ignore[misc, unused-ignore] # typed only where it is installed
    """Answers with the prompt."""

    @message_handler  # type: ignore[untyped-decorator, unused-ignore]
    async def greet(self, message: Prompt, ctx: MessageContext) -> Response:
        """Return the prompt."""
        return Response(message.prompt)


class Caller:
    """Sends messages to the agent."""

    def __init__(self, runtime: SingleThreadedAgentRuntime) -> None:
        self._send = runtime.send_message

    async def round_trips(self, count: int) -> None:
        """Send ``count`` messages, each after the response to the previous one."""
        for _ in range(count):
            response = await self._send(Prompt(INPUT["prompt"]), _ADDRESS)
            assert isinstance(response, Response)


@asynccontextmanager
async def echo() -> AsyncIterator[Caller]:
    """Start a runtime with the agent."""
    runtime = SingleThreadedAgentRuntime()
    await Greeter.register(runtime, NEURON, lambda: Greeter("greets"))
    runtime.start()
    yield Caller(runtime)
    await runtime.stop()
