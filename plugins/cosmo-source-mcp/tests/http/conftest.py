from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROTOCOL = "2025-06-18"
FINE = {"content": [{"type": "text", "text": "fine"}]}


class Reply(NamedTuple):
    """An HTTP response, which may be invalid."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    promised: int | None = None
    pack: Callable[[bytes], bytes] = bytes

    def to(self, id: int) -> Reply:
        """This reply with the id of the request in the place of ``ID``, and packed."""
        return self._replace(body=self.pack(self.body.replace(b"ID", str(id).encode())))

    def encode(self) -> bytes:
        length = len(self.body) if self.promised is None else self.promised
        headers = (("content-type", self.content_type), ("content-length", str(length)), *self.headers)
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass
class Stub:
    """A server of the 2025 protocol over HTTP, with sessions, whose replies a test can set.

    Attributes:
        url: Its URL.
        replies: The replies to the next calls of a tool; without any, it replies correctly.
        refusal: The reply to every request, if it is set.
        token: The token that a request needs, if it is set.
        silent: The methods to which it does not reply.
        held: The methods to which it replies when the event is set.
        left: Set when a client stopped waiting for a reply.
        lost_status: The status for a request in an unknown session.
        sessions: The ids of the known sessions.
        requests: The methods, first lines and headers of all requests.
        received: For each method, set when its first request came.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    refusal: Reply | None = None
    token: str = ""
    silent: set[str] = field(default_factory=set)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    lost_status: int = 404
    sessions: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    received: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    _numbers: Any = field(default_factory=itertools.count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (pair.partition(": ") for pair in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                message = json.loads(body or b"{}")
                reply = self.reply(line, headers, message)
                if (go := self.held.get(message.get("method", ""))) is not None:
                    await go.wait()
                if reply is None:
                    await reader.read()
                    self.left.set()
                    break
                writer.write(reply.encode())
                await writer.drain()
                if reply.promised is not None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def reply(self, line: str, headers: dict[str, str], message: dict[str, Any]) -> Reply | None:
        method = message.get("method", "")
        self.requests.append((method, line, headers))
        self.received[method].set()
        session = headers.get("mcp-session-id")
        if self.refusal is not None:
            return self.refusal
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, b'{"error": "who are you?"}')
        if session is not None and session not in self.sessions:
            return Reply(self.lost_status, b'{"error": "no such session"}')
        if method == "initialize":
            session = f"session-{next(self._numbers)}"
            self.sessions.add(session)
        if (method or line.split()[0]) in self.silent:
            return None
        if method == "tools/call" and self.replies:
            return self.replies.pop(0).to(message["id"])
        return self._proper(method, message.get("id"), (("mcp-session-id", session or "none"),))

    def _proper(self, method: str, id: object, headers: tuple[tuple[str, str], ...]) -> Reply:
        about = {"name": "stub", "version": "0"}
        results: dict[str, dict[str, Any]] = {
            "initialize": {"protocolVersion": PROTOCOL, "capabilities": {"tools": {}}, "serverInfo": about},
            "tools/list": {"tools": [{"name": "fine", "inputSchema": {"type": "object"}}]},
            "tools/call": FINE,
        }
        if method not in results:
            return Reply(405 if not method else 202 if id is None else 400)
        answer = {"jsonrpc": "2.0", "id": id, "result": results[method]}
        return Reply(200, json.dumps(answer).encode(), headers=headers)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """A server whose replies a test can set."""
    stub = Stub()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    yield stub
    server.close()


@pytest.fixture
def reply() -> type[Reply]:
    """The type of the stub's replies."""
    return Reply
