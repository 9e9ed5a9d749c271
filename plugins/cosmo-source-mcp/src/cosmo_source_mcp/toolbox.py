"""The tools of a server, and the check of a call against their schemas.

The check cannot be left to the server. The SDK's own server reports invalid arguments and an unknown tool in
the same form as a tool that failed, so such a call could not end with INPUT_INVALID or TOOL_NOT_FOUND
(``test_arguments_that_do_not_match_the_schema_are_not_sent``,
``test_unknown_tool_error_names_the_known_tools``). A server that does not validate would run it
(``test_invalid_input`` of the conformance tests).
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from cosmo_source_mcp.limits import MAX_TOOL_PAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from jsonschema.protocols import Validator
    from mcp import Client
    from mcp.types import ListToolsResult, Tool

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.failures import McpFailures

T = TypeVar("T")


class SendRequest(Protocol):
    """Sends a request in a session, and returns its answer."""

    async def __call__(self, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Send it."""
        ...


class Toolbox:
    """The tools of one session, from the last list that the server sent.

    Tools are added and removed at any time, so a call is refused only by a list that was read after the call
    began.

    Args:
        send: Sends a request in the session.
        failures: Builds the errors.
    """

    def __init__(self, send: SendRequest, failures: McpFailures) -> None:
        self._send = send
        self._failures = failures
        self._schemas: dict[str, ToolSchema] | None = None
        self._reading = asyncio.Lock()

    def invalidate(self) -> None:
        """Read the list again before the next call: the server reported that it changed."""
        self._schemas = None

    async def check(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Check a call before it is sent.

        Raises:
            NeuronError: The server does not have the tool, or the arguments do not match its schema.
        """
        seen = self._schemas
        if seen is not None and self._error(seen, tool, arguments) is None:
            return
        async with self._reading:
            if self._schemas is None or self._schemas is seen:
                self._schemas = {tool.name: ToolSchema(tool.input_schema) for tool in await self.read_list()}
            schemas = self._schemas
        if (error := self._error(schemas, tool, arguments)) is not None:
            raise error

    async def read_list(self) -> list[Tool]:
        """Request the list of all tools from the server.

        Raises:
            NeuronError: The server has no such list, or the list has too many pages.
        """
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_TOOL_PAGES):
            page = await self._send(partial(_page, cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise self._failures.malformed(f"more than {MAX_TOOL_PAGES} pages of tools")

    def _error(
        self, schemas: Mapping[str, ToolSchema], tool: str, arguments: Mapping[str, Any]
    ) -> NeuronError | None:
        schema = schemas.get(tool)
        if schema is None:
            return self._failures.unknown_tool(tool, list(schemas))
        reason = schema.mismatch(arguments)
        return None if reason is None else self._failures.bad_arguments(tool, reason)


async def _page(client: Client, cursor: str | None) -> ListToolsResult:
    return await client.list_tools(cursor=cursor)


class ToolSchema:
    """The JSON Schema of a tool's arguments, compiled on first use, as that costs more than a check."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._validator: Validator | None = None

    def mismatch(self, arguments: Mapping[str, Any]) -> str | None:
        """Return how the arguments violate the schema, or ``None``.

        A schema that is itself invalid accepts any arguments, because the server checks them too.
        """
        try:
            error = best_match(self._compiled().iter_errors(arguments))
        except (SchemaError, Unresolvable, RecursionError, re.error):
            return None
        if error is None:
            return None
        return f"{error.message} (at {error.json_path.replace('$', 'arguments', 1)})"

    def _compiled(self) -> Validator:
        if self._validator is None:
            kind = _dialect(self._schema)
            kind.check_schema(self._schema)
            # With an empty registry, a reference in a server's schema cannot make this process fetch a URL.
            self._validator = kind(self._schema, registry=Registry())
        return self._validator


def _dialect(schema: dict[str, Any]) -> type[Validator]:
    name = schema.get("$schema")
    try:
        return validator_for({"$schema": name} if isinstance(name, str) else {}, default=Draft202012Validator)
    except ValueError:  # not a URI
        return Draft202012Validator
