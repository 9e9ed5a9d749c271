"""Tokens and OAuth."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

TOKEN = "tok-THEKEY0123456789"


def sent(stub: Any) -> set[str | None]:
    return {headers.get("authorization") for _, _, headers in stub.requests}


async def test_token_is_sent_with_every_request(make: Make, ask: Ask, stub: Any) -> None:
    await ask(make(url=stub.url, token=TOKEN), "fine")
    assert sent(stub) == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_function_gives_the_token_for_each_request(make: Make, ask: Ask, stub: Any, kind: str) -> None:
    tokens = iter(range(100))

    def plain() -> str:
        return f"t{next(tokens)}"

    async def asynchronous() -> str:
        await asyncio.sleep(0)
        return plain()

    neuron = make(url=stub.url, token=plain if kind == "plain" else asynchronous)
    await ask(neuron, "fine")
    await ask(neuron, "fine")
    given = [headers["authorization"] for _, _, headers in stub.requests]
    assert len(set(given)) == len(given) > 3


class Panic(BaseException):
    pass


def fails(error: BaseException) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (fails(OSError(f"no {TOKEN} today")), "the function given as token raised OSError"),
        (fails(Panic(TOKEN)), "the function given as token raised Panic"),
        (lambda: None, "did not return a string of printable ASCII characters, but a NoneType"),
        (lambda: f"{TOKEN}\nX: y", "did not return a string of printable ASCII characters"),
    ],
)
async def test_function_without_a_token_is_an_error(
    make: Make, ask: Ask, stub: Any, token: Any, message: str
) -> None:
    neuron = make(url=stub.url, token=token)
    with pytest.raises(NeuronError, match=message) as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("AUTH_FAILED", False)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert not stub.requests


async def test_function_that_fails_during_a_session_ends_one_call(make: Make, ask: Ask, stub: Any) -> None:
    fine = True
    neuron = make(url=stub.url, token=lambda: TOKEN if fine else None)
    await ask(neuron, "fine")
    fine = False
    with pytest.raises(NeuronError, match="did not return a string"):
        await ask(neuron, "fine")
    fine = True
    assert (await ask(neuron, "fine"))["response"] == "fine"
    assert len(stub.sessions) == 1


@pytest.mark.parametrize("where", ["error", "tool"])
async def test_token_of_a_function_is_not_shown(
    make: Make, ask: Ask, stub: Any, reply: Any, where: str
) -> None:
    neuron = make(url=stub.url, token=lambda: TOKEN)
    await ask(neuron, "fine")
    content = f'{{"content":[{{"type":"text","text":"bad {TOKEN}"}}],"isError":true}}'
    bodies = {
        "error": f'{{"jsonrpc":"2.0","id":ID,"error":{{"code":-32603,"message":"bad {TOKEN}"}}}}',
        "tool": f'{{"jsonrpc":"2.0","id":ID,"result":{content}}}',
    }
    stub.replies = [reply(200, bodies[where].encode())]
    with pytest.raises(NeuronError, match=r"bad \[redacted\]") as caught:
        await ask(neuron, "fine")
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(neuron)


class ElsewhereAuth(httpx2.Auth):
    """Gets a token from another server after a 401, as OAuth does."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._token = ""

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if self._token:
            request.headers["authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == 401:
            answer = yield httpx2.Request("POST", self._place, json={"method": "token"})
            self._token = (await answer.aread()).decode()
            request.headers["authorization"] = f"Bearer {self._token}"
            yield request


@asynccontextmanager
async def serving(body: bytes) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """The URL of a server that answers everything with one body, and the heads of its requests."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token", heads


async def test_auth_runs_its_flow_and_tells_other_servers_nothing(make: Make, ask: Ask, stub: Any) -> None:
    stub.token = TOKEN
    async with serving(TOKEN.encode()) as (place, heads):
        neuron = make(url=f"{stub.url}?key=secret", headers={"X-Key": "secret"}, auth=ElsewhereAuth(place))
        assert (await ask(neuron, "fine"))["response"] == "fine"
    (head,) = heads
    assert b"secret" not in head
    assert b"authorization" not in head.lower()
    assert sent(stub) == {None, f"Bearer {TOKEN}"}
    assert all(headers["x-key"] == "secret" for _, _, headers in stub.requests)


async def test_huge_answer_to_a_request_of_auth_is_not_read(make: Make, ask: Ask, stub: Any) -> None:
    stub.token = TOKEN
    async with serving(b"x" * (2 << 20)) as (place, _):
        with pytest.raises(NeuronError, match="a body of more than 1048576 bytes is refused") as caught:
            await ask(make(url=stub.url, auth=ElsewhereAuth(place)), "fine")
    assert caught.value.code == "PROVIDER_MALFORMED"


class BrokenAuth(httpx2.Auth):
    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if request.url.host:
            raise self._error
        yield request


async def test_auth_that_raises_is_an_error(make: Make, ask: Ask, stub: Any) -> None:
    with pytest.raises(NeuronError, match="the authorization failed: Panic: no browser here") as caught:
        await ask(make(url=stub.url, auth=BrokenAuth(Panic("no browser here"))), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("AUTH_FAILED", False)
