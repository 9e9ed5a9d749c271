"""The requests of a client, each a function of the SDK's client.

A tool is called with `ClientSession.send_request`. ``Client.call_tool`` would check the result against the
output schema of the server, and so run its regular expressions here
(``test_no_output_schema_of_a_server_takes_long``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from mcp import MCPError
from mcp.client import ClientRequestContext
from mcp.types import (
    HEADER_MISMATCH,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ErrorData,
    GetPromptResult,
    InputRequiredResult,
    ReadResourceResult,
    SetLevelRequest,
    SetLevelRequestParams,
)
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from cosmo_source_mcp.limits import INPUT_PAUSE_S, LOG_LEVEL, MAX_INPUT_ROUNDS, MAX_LISTED, MAX_PAGES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT
    from mcp.types import InputResponses, Prompt, Resource, ResourceTemplate, Tool

_RESULT: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


class _Page(Protocol):
    @property
    def next_cursor(self) -> str | None: ...


P = TypeVar("P", bound=_Page)
T = TypeVar("T")


class TooMuchListedError(ValueError):
    """A list of a server has too many pages or entries."""


async def list_tools(client: Client) -> list[Tool]:
    """All tools of the server."""
    return await _all_pages(lambda cursor: client.list_tools(cursor=cursor), lambda page: page.tools, "tools")


async def list_resources(client: Client) -> list[Resource]:
    """All resources that the server lists."""
    return await _all_pages(
        lambda cursor: client.list_resources(cursor=cursor), lambda page: page.resources, "resources"
    )


async def list_resource_templates(client: Client) -> list[ResourceTemplate]:
    """All templates of resources of the server."""
    return await _all_pages(
        lambda cursor: client.list_resource_templates(cursor=cursor),
        lambda page: page.resource_templates,
        "resource templates",
    )


async def list_prompts(client: Client) -> list[Prompt]:
    """All prompts of the server."""
    return await _all_pages(
        lambda cursor: client.list_prompts(cursor=cursor), lambda page: page.prompts, "prompts"
    )


async def read_resource(client: Client, uri: str) -> ReadResourceResult:
    """Read a resource."""
    return await client.read_resource(uri)


async def get_prompt(client: Client, name: str, arguments: dict[str, str]) -> GetPromptResult:
    """Get a prompt."""
    return await client.get_prompt(name, arguments)


async def call_tool(
    client: Client, name: str, arguments: dict[str, Any], on_progress: ProgressFnT | None
) -> CallToolResult:
    """Call a tool; questions of the server during the call go to the callbacks of the client.

    Args:
        client: The client.
        name: The name of the tool.
        arguments: Its arguments.
        on_progress: Called with the progress that the server reports, which is then asked for.
    """
    session = client.session
    given: InputResponses | None = None
    state: str | None = None
    for _ in range(MAX_INPUT_ROUNDS):
        params = CallToolRequestParams(
            name=name, arguments=arguments, input_responses=given, request_state=state
        )
        request = CallToolRequest(params=params)
        try:
            result = await session.send_request(request, _RESULT, progress_callback=on_progress)
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            # Headers repeat some arguments, as the tool's schema says, which has changed.
            await list_tools(client)
            result = await session.send_request(request, _RESULT, progress_callback=on_progress)
        if isinstance(result, CallToolResult):
            return result
        given, state = await _answers(client, result), result.request_state
        if given is None:  # the server only asks to call again later
            await asyncio.sleep(INPUT_PAUSE_S)
    raise ValueError(f"the server asked for input more than {MAX_INPUT_ROUNDS} times")


async def ask_for_logs(client: Client) -> None:
    """Ask a server of an older protocol for its log; with a newer one, every request asks for it."""
    if client.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS and client.server_capabilities.logging:
        await client.session.send_request(
            SetLevelRequest(params=SetLevelRequestParams(level=LOG_LEVEL)), EmptyResult
        )


async def _answers(client: Client, result: InputRequiredResult) -> InputResponses | None:
    answers: InputResponses = {}
    for key, asked in (result.input_requests or {}).items():
        meta = asked.params.meta if asked.params else None
        context = ClientRequestContext(session=client.session, request_id=key, meta=meta)
        answer = await client.session.dispatch_input_request(context, asked)
        if isinstance(answer, ErrorData):
            raise MCPError.from_error_data(answer)
        answers[key] = answer
    return answers or None


async def _all_pages(
    read: Callable[[str | None], Awaitable[P]], entries_of: Callable[[P], list[T]], kind: str
) -> list[T]:
    entries: list[T] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await read(cursor)
        entries += entries_of(page)
        cursor = page.next_cursor
        if len(entries) > MAX_LISTED:
            raise TooMuchListedError(f"more than {MAX_LISTED} {kind}")
        if cursor is None:
            return entries
    raise TooMuchListedError(f"more than {MAX_PAGES} pages of {kind}")
