"""What a server can do, and whether a call fits."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cosmo_source_mcp.limits import MAX_TOOL_PAGES
from cosmo_source_mcp.tool_schema import ToolSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from mcp import Client
    from mcp.types import ListToolsResult, Tool

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.failures import Failures

T = TypeVar("T")


class Ask(Protocol):
    """Sends a request in a session, and returns its answer."""

    async def __call__(self, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Send it."""
        ...


class Toolbox:
    """The tools of one session, as they were listed last.

    A call is refused only for what a list says that was read after the call was made: tools come and go.
    """

    def __init__(self, ask: Ask, failures: Failures) -> None:
        self._ask = ask
        self._failures = failures
        self._schemas: dict[str, ToolSchema] | None = None
        self._reading = asyncio.Lock()

    def forget(self) -> None:
        """The server said that its tools have changed."""
        self._schemas = None

    async def check(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Check a call before it is made.

        Raises:
            NeuronError: There is no such tool, or the arguments do not fit it.
        """
        seen = self._schemas
        if seen is not None and self._problem(seen, tool, arguments) is None:
            return
        async with self._reading:
            if self._schemas is None or self._schemas is seen:
                self._schemas = {tool.name: ToolSchema(tool.input_schema) for tool in await self.listed()}
            schemas = self._schemas
        if (problem := self._problem(schemas, tool, arguments)) is not None:
            raise problem

    async def listed(self) -> list[Tool]:
        """Ask the server for all its tools.

        Raises:
            NeuronError: The list never ends, or there is no list.
        """
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_TOOL_PAGES):
            page = await self._ask(partial(_page, cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise self._failures.malformed(f"more than {MAX_TOOL_PAGES} pages of tools")

    def _problem(
        self, schemas: Mapping[str, ToolSchema], tool: str, arguments: Mapping[str, Any]
    ) -> NeuronError | None:
        schema = schemas.get(tool)
        if schema is None:
            return self._failures.unknown_tool(tool, list(schemas))
        reason = schema.problem(arguments)
        return None if reason is None else self._failures.bad_arguments(tool, reason)


async def _page(client: Client, cursor: str | None) -> ListToolsResult:
    return await client.list_tools(cursor=cursor)
