"""The Neuron of this source, and the function that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cosmo_core import AskBack
from cosmo_source_mcp import requests
from cosmo_source_mcp.calls import (
    Call,
    error_text,
    list_output,
    prompt_output,
    read_call,
    resource_output,
    tool_output,
)
from cosmo_source_mcp.codes import SESSION_LOST
from cosmo_source_mcp.conversation import Conversation, Notes
from cosmo_source_mcp.failures import McpFailures
from cosmo_source_mcp.http import HttpLink
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.session import SessionLostError, Sessions
from cosmo_source_mcp.stdio import StdioLink
from cosmo_source_mcp.targets import Launch
from cosmo_source_mcp.waiting import RunningCall, WaitingCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from mcp import Client

    from cosmo_source_mcp.calls import Listed
    from cosmo_source_mcp.session import Link, Session

_LISTS: Final[dict[str, Callable[[Client], Coroutine[Any, Any, Sequence[Listed]]]]] = {
    "list_tools": requests.list_tools,
    "list_resources": requests.list_resources,
    "list_resource_templates": requests.list_resource_templates,
    "list_prompts": requests.list_prompts,
}


class McpNeuron:
    """``async (input, context) -> {"response", "result", "is_error", "content", "meta"}``, or a question."""

    def __init__(self, options: McpOptions) -> None:
        self._options = options
        self._failures = McpFailures(
            server=options.label,
            secrets=options.secrets,
            timeout_s=options.timeout,
            start_timeout_s=options.start_timeout,
        )
        self._sessions = Sessions(
            self._connect, self._failures, options.roots or (), wants_log=options.stream
        )

        self._waiting = WaitingCalls()

    def __repr__(self) -> str:
        tool = f" tool={self._options.tool!r}" if self._options.tool else ""
        return f"<{type(self).__name__} of {self._options.label}{tool}>"

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        """Run one TASK.

        Args:
            input: A tool and its arguments, or the arguments alone if the Neuron is bound to a tool; or a
                resource, a prompt, or a list.
            context: Not used.

        Returns:
            The output; or a question, if the server asks what has no answer in ``input["clarifications"]``.

        Raises:
            NeuronError: The input is invalid, or the tool or its server failed; the README lists the codes.
        """
        return await self._answer(input, None)

    async def aclose(self) -> None:
        """Close the session, and end its server if this Neuron started it. A later call opens a new one."""
        await self._waiting.aclose()
        await self._sessions.aclose()

    async def _answer(self, input: dict[str, Any], notes: Notes | None) -> dict[str, Any] | AskBack:
        call = read_call(input, self._options.tool)
        running = self._waiting.take(call)
        if running is None:
            conversation = Conversation(call.answers, notes)
            running = RunningCall(self._call(call, conversation), conversation)
        running.conversation.notes = notes
        goes_on = False
        try:
            async with asyncio.timeout(self._options.timeout):
                outcome = await running.outcome()
            if goes_on := isinstance(outcome, AskBack):
                self._waiting.add(call, running)
        except TimeoutError:
            failure = self._sessions.timed_out()
        else:
            return outcome
        finally:
            if not goes_on:
                running.cancel()
        # Raised outside the except block, so that __context__ does not keep what the server sent.
        raise failure

    async def _call(self, call: Call, conversation: Conversation) -> dict[str, Any]:
        """Make a call, and once more in a new session if the server has lost the session."""
        try:
            return await self._run(self._sessions.current(), call, conversation)
        except SessionLostError:
            session = self._sessions.current()
        try:
            return await self._run(session, call, conversation)
        except SessionLostError:
            failure = self._failures.answered_error(SESSION_LOST)
        raise failure

    async def _run(self, session: Session, call: Call, conversation: Conversation) -> dict[str, Any]:
        try:
            if call.kind == "tool":
                return await self._tool_output(session, call, conversation)
            if call.kind == "resource":
                read = partial(requests.read_resource, uri=call.name)
                contents = await session.send(read, conversation)
                return resource_output(contents, {"resource": call.name, **session.server_info()})
            if call.kind == "prompt":
                get = partial(requests.get_prompt, name=call.name, arguments=call.arguments)
                prompt = await session.send(get, conversation)
                return prompt_output(prompt, {"prompt": call.name, **session.server_info()})
            return list_output(await session.send(_LISTS[call.kind], conversation), session.server_info())
        except ValueError as error:
            failure = self._failures.malformed(error)
        raise failure

    async def _tool_output(self, session: Session, call: Call, conversation: Conversation) -> dict[str, Any]:
        tool = await session.tools.check(call.name, call.arguments)
        on_progress = None if conversation.notes is None else conversation.progress
        send = partial(requests.call_tool, name=call.name, arguments=call.arguments, on_progress=on_progress)
        result = await session.send(send, conversation)
        if result.is_error:
            raise self._failures.tool_failed(call.name, error_text(result))
        session.tools.check_result(tool, result)
        return tool_output(result, {"tool": call.name, **session.server_info()})

    def _connect(self) -> Link:
        target = self._options.target
        if isinstance(target, Launch):
            return StdioLink(target, self._failures)
        return HttpLink(target, self._options, self._failures)


class StreamingMcpNeuron(McpNeuron):
    """The same as an async generator: what the server reports during a call, and then the output."""

    async def __call__(  # type: ignore[override]  # an Axon calls either kind
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[Any]:
        """Run one TASK; see `McpNeuron`. Yields notes of the server as texts, and at last the output."""
        notes = Notes()
        answering = asyncio.create_task(self._answer(input, notes))
        try:
            async for note in notes.until(answering):
                yield note
            yield await answering
        finally:
            answering.cancel()
            await asyncio.wait([answering])


def mcp(**options: Any) -> McpNeuron:
    """Make a Neuron that uses the tools, resources and prompts of an MCP server.

    Nothing is started or connected yet: the first call does that.

    Args:
        **options: Exactly one of ``command``, ``server`` and ``url``; ``args``, ``env``, ``cwd``,
            ``headers``, ``token``, ``auth``, ``roots``, ``tool``, ``stream``, ``timeout`` and
            ``start_timeout``; the README describes each.

    Raises:
        TypeError: There is no such option; the message names those that exist.
        ValueError: The value of an option cannot work, or cannot be combined with another option.
    """
    parsed = McpOptions.parse(options)
    return StreamingMcpNeuron(parsed) if parsed.stream else McpNeuron(parsed)
