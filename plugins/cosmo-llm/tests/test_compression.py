"""Compressed bodies, which are decompressed up to a limit."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm import Failures, read_up_to
from cosmo_llm.decoding import MAX_BODY_BYTES
from cosmo_llm.http import Endpoint, HttpOptions, Transport
from cosmo_llm.http.transport import MAX_STREAM_BYTES
from cosmo_llm.wire import DECODED_CHUNK_BYTES, EncodingError, decoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FAILURES = Failures(server="the toy", timeout_s=30)
BODY = b'{"a": 1}' * 50_000


def bare(data: bytes) -> bytes:
    """Deflate without a header, as some servers send it."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


class Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes, size: int = 65_536) -> None:
        self._data = data
        self._size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self._size):
            yield self._data[start : start + self._size]


class Count:
    """A decoder that counts bytes."""

    def __init__(self) -> None:
        self.done = False
        self.size = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        self.size += len(chunk)
        return iter(())

    def end(self) -> Iterator[str]:
        return iter(())


def response(data: bytes, encoding: str | None, size: int = 65_536) -> httpx.Response:
    headers = {} if encoding is None else {"content-encoding": encoding}
    return httpx.Response(200, headers=headers, stream=Body(data, size))


@pytest.mark.parametrize("size", [1_000, 65_536])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (None, BODY),
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("GZIP ", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", bare(BODY)),
        ("gzip", b""),
    ],
    ids=["none", "empty", "identity", "gzip", "upper-case", "x-gzip", "deflate", "bare-deflate", "no-body"],
)
async def test_one_encoding_is_decoded_in_steps(encoding: str | None, data: bytes, size: int) -> None:
    chunks = [chunk async for chunk in decoded(response(data, encoding, size))]
    assert b"".join(chunks) == (BODY if data else b"")
    assert max(map(len, chunks), default=0) <= DECODED_CHUNK_BYTES


@pytest.mark.parametrize(
    ("encoding", "data", "says"),
    [
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), "not supported"),
        ("br", b"any", "not supported"),
        ("gzip", b"any", "not valid gzip"),
        ("gzip", gzip.compress(BODY)[:-9], "ends early"),
        ("deflate", zlib.compress(BODY)[:50], "ends early"),
    ],
    ids=["two", "unknown", "damaged", "cut-gzip", "cut-deflate"],  # gzip holds the time
)
async def test_what_cannot_be_decoded_within_bounds_is_refused(encoding: str, data: bytes, says: str) -> None:
    with pytest.raises(EncodingError, match=says):
        await read_up_to(1_000_000, response(data, encoding))


async def test_a_body_in_memory_is_used_as_it_is() -> None:
    in_memory = httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(BODY))
    assert await read_up_to(1_000_000, in_memory) == (BODY, True)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_small_body_that_becomes_a_huge_one_is_refused_at_the_limit(
    encoding: str, streams: bool
) -> None:
    limit = MAX_STREAM_BYTES if streams else MAX_BODY_BYTES
    engine = zlib.compressobj(9, wbits=31)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(2 * limit >> 20)) + engine.flush()
    if encoding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    counted = Count()
    answer = httpx.MockTransport(lambda _: response(bomb, encoding))
    async with httpx.AsyncClient(transport=answer) as client:
        transport = Transport(HttpOptions(endpoint=Endpoint.parse("http://localhost"), client=client))
        call = transport.call("/", {}, FAILURES)
        tracemalloc.start()
        with pytest.raises(NeuronError, match=r"more than the limit of|not supported") as caught:
            await (read_all(transport, call, counted) if streams else transport.fetch(call))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert caught.value.code == "PROVIDER_MALFORMED"
    assert counted.size <= limit
    assert peak < 3 * MAX_BODY_BYTES


async def read_all(transport: Transport, call: Any, decoder: Count) -> None:
    async with await transport.open(call, decoder) as texts:
        async for _ in texts:
            pass


async def test_the_time_limit_applies_while_a_body_is_decompressed() -> None:
    engine = zlib.compressobj(9, wbits=31)
    data = b"".join(engine.compress(bytes(1 << 20)) for _ in range(15)) + engine.flush()
    answer = httpx.MockTransport(lambda _: response(data, "gzip"))
    async with httpx.AsyncClient(transport=answer) as client:
        options = HttpOptions(endpoint=Endpoint.parse("http://localhost"), client=client)
        transport = Transport(options)
        call = transport.call("/", {}, FAILURES)
        # The loop gets its turn between two steps: a callback runs before the body is complete.
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        started = time.monotonic()
        assert len(await transport.fetch(call)) == 15 << 20
        assert turns >= (15 << 20) // DECODED_CHUNK_BYTES
        assert time.monotonic() - started < 30
