"""Requests, streams, retries, URLs and headers of `cosmo_llm.http`, with a minimal source."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm import Failures
from cosmo_llm.http import Endpoint, HttpOptions, Transport
from cosmo_llm.http.transport import FIRST_DELAY_S, MAX_DELAY_S, retry_delay_s
from cosmo_testing import ChatServer, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

WITHOUT_HTTPX = """
import sys
sys.modules["httpx"] = None
import cosmo_core, cosmo_llm, cosmo_llm.options, cosmo_llm.streams
try:
    import cosmo_llm.http
except ImportError as error:
    print(error)
"""


FAILURES = Failures(server="the toy", timeout_s=30)


class Lines:
    """Decodes whole lines, up to a line that is a full stop."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self.done = self.done or line == b"."
            if not self.done:
                yield line.decode()

    def end(self) -> Iterator[str]:
        if not self.done:
            yield self._rest.decode()
            raise FAILURES.cut()


class Body(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.read += 1
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


def options_for(url: str, **options: Any) -> HttpOptions:
    return HttpOptions(endpoint=Endpoint.parse(url), **options)


@pytest.fixture
async def toy() -> AsyncIterator[Callable[[Body], Transport]]:
    """Make a transport whose server answers with a given body."""
    clients = []

    def toy(body: Body) -> Transport:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
        clients.append(httpx.AsyncClient(transport=transport))
        return Transport(options_for("http://localhost", client=clients[-1]))

    yield toy
    for client in clients:
        await client.aclose()


async def texts_of(transport: Transport) -> list[str]:
    async with await transport.open(transport.call("/", {}, FAILURES), Lines()) as texts:
        return [text async for text in texts]


async def test_a_stream_yields_its_texts_up_to_the_end_of_the_answer(
    toy: Callable[[Body], Transport],
) -> None:
    body = Body(b"a\nb", b"c\n", b"\n.\nignored\n", b"never\n")
    assert await texts_of(toy(body)) == ["a", "bc", ""]
    assert (body.read, body.closed) == (4, True)


async def test_a_cut_stream_yields_its_last_text_before_it_raises(
    toy: Callable[[Body], Transport],
) -> None:
    body = Body(b"a\nb")
    transport = toy(body)
    texts = []
    with pytest.raises(NeuronError, match="ended its stream"):  # noqa: PT012 - what came before counts, too
        async with await transport.open(transport.call("/", {}, FAILURES), Lines()) as stream:
            async for text in stream:
                texts.append(text)  # noqa: PERF401 - a comprehension would lose them
    assert (texts, body.closed) == (["a", "b"], True)


async def test_a_finished_stream_raises_stop_async_iteration_again(toy: Callable[[Body], Transport]) -> None:
    transport = toy(Body(b".\n"))
    async with await transport.open(transport.call("/", {}, FAILURES), Lines()) as texts:
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(texts)


async def test_leaving_a_stream_closes_its_response(toy: Callable[[Body], Transport]) -> None:
    body = Body(b"a\n", b"b\n")
    transport = toy(body)
    async with await transport.open(transport.call("/", {}, FAILURES), Lines()) as texts:
        assert await anext(texts) == "a"
    assert (body.read, body.closed) == (1, True)


async def test_the_time_limit_of_a_call_begins_when_it_is_made() -> None:
    async with ChatServer() as server:
        transport = Transport(options_for(server.url, timeout=1e-9))
        call = transport.call("/generate", {"inputs": "Hi"}, FAILURES)
        with pytest.raises(NeuronError, match="did not answer completely") as caught:
            await transport.fetch(call)
        await transport.aclose()
    assert caught.value.code == "PROVIDER_TIMEOUT"
    assert call.left_s <= 0


async def test_user_headers_override_source_headers_and_compression_is_off() -> None:
    async with ChatServer() as server:
        transport = Transport(
            options_for(server.url, headers={"X-Key": "theirs"}), {"x-key": "mine", "x-other": "mine"}
        )
        await transport.fetch(transport.call("/generate", {"inputs": "Hi"}, FAILURES))
        await transport.aclose()
    headers = server.requests[0].headers
    assert (headers["x-key"], headers["x-other"]) == ("theirs", "mine")
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"


async def test_a_body_that_json_cannot_carry_is_an_input_error() -> None:
    transport = Transport(options_for("http://localhost"))
    nested: list[Any] = []
    nested.append(nested)
    for value in (float("nan"), object(), b"", nested):
        with pytest.raises(NeuronError, match="cannot be sent as JSON") as caught:
            transport.call("/", {"value": value}, FAILURES)
        assert caught.value.code == "INPUT_INVALID"


async def test_a_refusal_with_a_cut_body_is_reported_by_its_status() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        class Cut(Body):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield b'{"err'
                raise httpx.ReadError("reset")

        return httpx.Response(401, stream=Cut())

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as client:
        transport = Transport(options_for("http://localhost", client=client))
        with pytest.raises(NeuronError, match=r"answered 401 Unauthorized$") as caught:
            await transport.fetch(transport.call("/", {}, FAILURES))
    assert caught.value.code == "AUTH_FAILED"


async def test_a_transport_closed_during_a_call_serves_the_next_call() -> None:
    async with ChatServer() as server:
        transport = Transport(options_for(server.url))
        server.script(Fault.stall())
        call = asyncio.ensure_future(transport.fetch(transport.call("/generate", {"inputs": "Hi"}, FAILURES)))
        async with asyncio.timeout(5):
            await server.wait_received(1)
            await transport.aclose()
            call.cancel()
            await asyncio.wait([call])
            answer = await transport.fetch(transport.call("/generate", {"inputs": "Hi"}, FAILURES))
        await transport.aclose()
    assert b"Hello" in answer


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("short", set()),
        ("x-long-enough", {"x-long-enough"}),
        ("Bearer abcdefgh", {"Bearer abcdefgh", "abcdefgh"}),
        ("a=12345678; b=abcdefgh,c", {"a=12345678; b=abcdefgh,c", "12345678", "abcdefgh"}),
    ],
)
def test_the_long_parts_of_a_header_are_secrets(value: str, secrets: set[str]) -> None:
    options = options_for("http://localhost", headers={"X-Any": value})
    assert len(options.secrets) == len(secrets)
    assert all(secret in options.secrets for secret in secrets)
    assert value not in repr(options)


@pytest.mark.parametrize(
    "url",
    [
        "",
        " http://host",
        "http://two words",
        "host:80",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:70000",
    ],
)
def test_a_wrong_url_is_shown_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"^home='.*needed, such as http://localhost:8080$|not a URL"):
        Endpoint.parse(url, name="home")


@pytest.mark.parametrize(
    "url",
    ["user:hunter2@host", "http://user:hunter2@host", "http://u:hunter2@host:99999x", "host?key=hunter2"],
)
def test_a_wrong_url_that_may_hold_a_secret_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^endpoint") as caught:
        Endpoint.parse(url)
    assert "hunter2" not in str(caught.value)


def test_only_the_http_package_imports_httpx() -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-W", "error", "-c", WITHOUT_HTTPX],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "httpx" in done.stdout


@given(st.integers(1, 100))
def test_the_retry_delay_doubles_and_is_bounded(attempt: int) -> None:
    delay = retry_delay_s(attempt, None, max_retries=100)
    longest = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** (attempt - 1))
    assert delay is not None
    assert longest / 2 <= delay <= longest


@given(st.integers(1, 3), st.floats(0, 1e9))
def test_a_delay_that_the_provider_asks_for_is_used(attempt: int, asked_s: float) -> None:
    assert retry_delay_s(attempt, asked_s, max_retries=3) == asked_s


@given(st.integers(0, 100), st.integers(1, 1_000), st.none() | st.floats(0, 1))
def test_there_is_no_delay_after_the_last_attempt(
    max_retries: int, further: int, asked_s: float | None
) -> None:
    assert retry_delay_s(max_retries + further, asked_s, max_retries) is None
