"""The tools of a server, and the check of a call against their schemas.

The check cannot be left to the server. The SDK's own server reports invalid arguments and an unknown tool in
the same form as a tool that failed, so such a call could not end with INPUT_INVALID or TOOL_NOT_FOUND
(``test_arguments_that_do_not_match_the_schema_are_not_sent``,
``test_unknown_tool_error_names_the_known_tools``). A server that does not validate would run it
(``test_invalid_input`` of the conformance tests).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cosmo_source_mcp.schema import mismatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.types import CallToolResult, Tool

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.failures import McpFailures


class Toolbox:
    """The tools of one session, from the last list that the server sent.

    Tools are added and removed at any time, so a call is refused only by a list that was read after the call
    began.

    Args:
        read_list: Requests the list of all tools from the server.
        failures: Builds the errors.
    """

    def __init__(self, read_list: Callable[[], Awaitable[list[Tool]]], failures: McpFailures) -> None:
        self._read_list = read_list
        self._failures = failures
        self._tools: dict[str, Tool] | None = None
        self._reading = asyncio.Lock()

    def invalidate(self) -> None:
        """Read the list again before the next call: the server reported that it changed."""
        self._tools = None

    async def check(self, tool: str, arguments: Mapping[str, Any]) -> Tool:
        """Check a call before it is sent, and return the tool.

        Raises:
            NeuronError: The server does not have the tool, or the arguments do not match its schema.
        """
        seen = self._tools
        if seen is not None and self._error(seen, tool, arguments) is None:
            return seen[tool]
        async with self._reading:
            if self._tools is None or self._tools is seen:
                self._tools = {tool.name: tool for tool in await self._read_list()}
            tools = self._tools
        if (error := self._error(tools, tool, arguments)) is not None:
            raise error
        return tools[tool]

    def check_result(self, tool: Tool, result: CallToolResult) -> None:
        """Check a result against the output schema that the tool promised.

        Raises:
            NeuronError: The result has no structured content, or it does not match.
        """
        if tool.output_schema is None or result.is_error:
            return
        if result.structured_content is None:
            raise self._failures.malformed(f"the tool {tool.name!r} sent no structured content")
        if reason := mismatch(result.structured_content, tool.output_schema, "result"):
            raise self._failures.malformed(reason)

    def _error(
        self, tools: Mapping[str, Tool], tool: str, arguments: Mapping[str, Any]
    ) -> NeuronError | None:
        if tool not in tools:
            return self._failures.unknown_tool(tool, list(tools))
        reason = mismatch(arguments, tools[tool].input_schema, "arguments")
        return None if reason is None else self._failures.bad_arguments(tool, reason)
