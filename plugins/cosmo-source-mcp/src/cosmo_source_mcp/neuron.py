"""The Neuron that this source makes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from cosmo_source_mcp.calls import Call, read_call
from cosmo_source_mcp.failures import Failures
from cosmo_source_mcp.http import HttpLink
from cosmo_source_mcp.outputs import list_output, result_output, text_of
from cosmo_source_mcp.redaction import Secrets
from cosmo_source_mcp.server_url import ServerUrl
from cosmo_source_mcp.session import SessionLostError
from cosmo_source_mcp.sessions import Sessions
from cosmo_source_mcp.stdio import StdioLink
from cosmo_source_mcp.wire_errors import SESSION_LOST

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

    from cosmo_source_mcp.options import Options
    from cosmo_source_mcp.session import Link, Session


class McpNeuron:
    """``async (input, context) -> {"response", "result", "is_error", "content", "meta"}``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._secrets = Secrets(options.secrets)
        self._failures = Failures(options.label, self._secrets, options.timeout)
        self._sessions = Sessions(self._connect, self._failures, options.timeout)

    def __repr__(self) -> str:
        tool = f" tool={self._options.tool!r}" if self._options.tool else ""
        return f"<McpNeuron of {self._options.label}{tool}>"

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A tool and its arguments, or the arguments alone where the tool is bound.
            context: Not used; what a tool needs is in its arguments.

        Raises:
            NeuronError: The input does not fit, or the tool or its server failed; the README has the codes.
        """
        call = read_call(input, self._options.tool)
        session = self._sessions.current()
        try:
            async with asyncio.timeout(self._options.timeout):
                try:
                    return await self._answer(session, call)
                except SessionLostError:
                    session = self._sessions.current()
                return await self._answer(session, call)
        except TimeoutError:
            failure = session.timed_out()
        except SessionLostError:
            failure = self._failures.told(SESSION_LOST)
        # Raised out here, so that it holds no other exception: that may hold all the server sent.
        raise failure

    async def aclose(self) -> None:
        """Close the session, and end its server if that runs here. A later call starts anew."""
        await self._sessions.aclose()

    async def _answer(self, session: Session, call: Call | None) -> dict[str, Any]:
        try:
            if call is None:
                return list_output(await session.tools.listed(), session.about())
            result = await self._result(session, call)
            return result_output(result, {"tool": call.tool, **session.about()})
        except ValueError as error:
            failure = self._failures.malformed(error)
        raise failure

    async def _result(self, session: Session, call: Call) -> CallToolResult:
        await session.tools.check(call.tool, call.arguments)
        result = await session.ask(partial(_call_tool, call=call))
        if result.is_error:
            raise self._failures.tool_failed(call.tool, text_of(result.content))
        return result

    def _connect(self) -> Link:
        target = self._options.target
        if isinstance(target, ServerUrl):
            return HttpLink(target, self._options, self._secrets)
        return StdioLink(target, self._failures, self._secrets)


async def _call_tool(client: Client, call: Call) -> CallToolResult:
    return await client.call_tool(call.tool, call.arguments)
