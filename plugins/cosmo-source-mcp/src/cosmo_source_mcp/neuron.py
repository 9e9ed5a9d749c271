"""The Neuron of this source, and the function that makes it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from cosmo_source_mcp.calls import Call, list_output, read_call, result_output, text_of
from cosmo_source_mcp.codes import SESSION_LOST
from cosmo_source_mcp.failures import McpFailures
from cosmo_source_mcp.http import HttpLink
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.session import SessionLostError, Sessions
from cosmo_source_mcp.stdio import StdioLink
from cosmo_source_mcp.targets import Launch

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

    from cosmo_source_mcp.session import Link, Session


class McpNeuron:
    """``async (input, context) -> {"response", "result", "is_error", "content", "meta"}``."""

    def __init__(self, options: McpOptions) -> None:
        self._options = options
        self._failures = McpFailures(server=options.label, secrets=options.secrets, timeout_s=options.timeout)
        self._sessions = Sessions(self._connect, self._failures)

    def __repr__(self) -> str:
        tool = f" tool={self._options.tool!r}" if self._options.tool else ""
        return f"<McpNeuron of {self._options.label}{tool}>"

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Run one TASK.

        Args:
            input: A tool and its arguments, or the arguments alone if the Neuron is bound to a tool.
            context: Not used.

        Raises:
            NeuronError: The input is invalid, or the tool or its server failed; the README lists the codes.
        """
        call = read_call(input, self._options.tool)
        session = self._sessions.current()
        try:
            async with asyncio.timeout(self._options.timeout):
                try:
                    return await self._run(session, call)
                except SessionLostError:
                    session = self._sessions.current()
                return await self._run(session, call)
        except TimeoutError:
            failure = session.timed_out()
        except SessionLostError:
            failure = self._failures.answered_error(SESSION_LOST)
        # Raised outside the except block, so that __context__ does not keep what the server sent.
        raise failure

    async def aclose(self) -> None:
        """Close the session, and end its server if this Neuron started it. A later call opens a new one."""
        await self._sessions.aclose()

    async def _run(self, session: Session, call: Call | None) -> dict[str, Any]:
        try:
            if call is None:
                return list_output(await session.tools.read_list(), session.server_info())
            result = await self._result(session, call)
            return result_output(result, {"tool": call.tool, **session.server_info()})
        except ValueError as error:
            failure = self._failures.malformed(error)
        raise failure

    async def _result(self, session: Session, call: Call) -> CallToolResult:
        await session.tools.check(call.tool, call.arguments)
        result = await session.send(partial(_call_tool, call=call))
        if result.is_error:
            raise self._failures.tool_failed(call.tool, text_of(result.content))
        return result

    def _connect(self) -> Link:
        target = self._options.target
        if isinstance(target, Launch):
            return StdioLink(target, self._failures)
        return HttpLink(target, self._options.headers or {}, self._failures)


async def _call_tool(client: Client, call: Call) -> CallToolResult:
    return await client.call_tool(call.tool, call.arguments)


def mcp(**options: Any) -> McpNeuron:
    """Make a Neuron that calls the tools of an MCP server.

    Nothing is started or connected yet: the first call does that.

    Args:
        **options: Exactly one of ``command``, ``server`` and ``url``; ``args``, ``env``, ``cwd``,
            ``headers``, ``tool`` and ``timeout``; the README describes each.

    Raises:
        TypeError: There is no such option; the message names those that exist.
        ValueError: The value of an option cannot work, or cannot be combined with another option.
    """
    return McpNeuron(McpOptions.parse(options))
