"""The httpx transport that sends requests to a WSGI app, in threads of its own.

No library replaces it. a2wsgi over `AsgiTransport` passes every chunk through the event loop: a short answer
takes twice as long, one of 1,000 chunks a hundred times as long. It also fails these tests:

- ``test_endless_stream_ends_with_its_call`` and ``test_endless_body_is_an_error``: when its client stops
  reading, the thread of the view waits for ever, and the program cannot exit.
- ``test_closing_leaves_no_thread``: its threads cannot be ended.
- ``test_exception_in_an_app_ends_its_call_only``: StopIteration in a view hangs the call, and
  KeyboardInterrupt stops the event loop.
- ``test_app_can_replace_its_status_before_its_body`` and ``test_violation_of_wsgi_is_an_app_error``: it sends
  the status at once, and does not check what the app does.
- ``test_any_status_is_an_output``: it requires a reason after the status code.

`httpx.WSGITransport` cannot carry a path in any script (``test_path_may_be_in_any_script``), and drops what
an app writes with ``write``. The test client of Werkzeug has no limit on the body.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import re
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import httpx

from cosmo_source_flask.body import BodyLimit, SlicedBody
from cosmo_source_flask.failures import ProtocolViolationError
from cosmo_source_flask.streaming import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType
    from wsgiref.types import WSGIApplication

    from cosmo_source_flask.app import AppLoader
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.streaming import Pieces

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

T = TypeVar("T")

Head = tuple[int, list[tuple[bytes, bytes]]]
"""The status and the headers of a response."""

_STATUS: Final = re.compile(r"([1-9][0-9]{2})(?: .*)?")


class WsgiTransport(httpx.AsyncBaseTransport):
    """Sends each request to the app, in one of the transport's threads.

    Args:
        loader: Loads the app.
        failures: Builds the errors, and has the size limit of a body.
        threads: How many requests run at once.
    """

    def __init__(self, loader: AppLoader, failures: Failures, *, threads: int) -> None:
        self._loader = loader
        self._failures = failures
        self._threads = _Threads(threads)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        A cancelled caller returns at once. A view that runs continues to its end, but the stream that it
        returns is not read further.

        Raises:
            NeuronError: The app failed.
        """
        environ = _to_environ(request, await request.aread())
        call = _WsgiCall(self._loader, environ, self._failures, request.extensions.get(EXTENSION))
        try:
            return await self._threads.run(call)
        finally:
            call.abandoned = True

    async def shut_down(self) -> None:
        """Let each thread end after its current request. The next request starts new threads."""
        self._threads.close()


class _Threads:
    """A thread pool that is made on first use, so that a slow view delays only requests to its own app.

    Args:
        limit: How many threads at most; further functions wait for one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._executor: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()

    def run(self, function: Callable[[], T]) -> Awaitable[T]:
        """Run a function in the caller's context, unless it is cancelled before a thread is free."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._limit, thread_name_prefix="cosmo-wsgi")
        future = self._executor.submit(contextvars.copy_context().run, function)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Let each thread end after its current function. The next `run` makes a new pool."""
        executor, self._executor = self._executor, None
        if executor is not None:
            # Idle threads end at once; a view that runs is not waited for.
            executor.shutdown(wait=not self._running)


class _AbandonedError(Exception):
    """The caller was cancelled, so the answer is not needed."""


class _WsgiCall:
    """Calls the app once, as PEP 3333 specifies, and collects its answer.

    Args:
        loader: Loads the app.
        environ: The request.
        failures: Builds the errors, and has the size limit of the body.
        pieces: Takes the pieces of the body, if the caller wants them.

    Attributes:
        abandoned: Set when the caller has gone; the body is then not read further.
    """

    def __init__(
        self, loader: AppLoader, environ: dict[str, Any], failures: Failures, pieces: Pieces | None
    ) -> None:
        self.abandoned = False
        self._loader = loader
        self._environ = environ
        self._failures = failures
        self._limit = BodyLimit(failures.max_response_bytes)
        self._head: Head | None = None
        self._body = bytearray()
        self._pieces = pieces
        self._take: Callable[[bytes], None] | None = None

    def __call__(self) -> httpx.Response:
        """Call the app, and return its answer.

        Raises:
            NeuronError: The app cannot be imported, raised, or violated the protocol.
            _AbandonedError: The caller has gone.
        """
        app = self._loader.load()
        try:
            self._run(app)
            status, headers = self._started()
        except _AbandonedError:
            raise
        except BaseException as error:  # noqa: BLE001 - a view may even exit; that ends the call, not the loop
            failure = self._failures.of(error, too_large=self._limit.exceeded)
        else:
            if not self._limit.exceeded:
                return httpx.Response(status, headers=headers, stream=SlicedBody(bytes(self._body)))
            failure = self._failures.too_large()
        # Raised outside the except block, so that __context__ does not keep the other exception.
        raise failure

    def _run(self, app: WSGIApplication) -> None:
        chunks: Iterable[bytes] = app(self._environ, self._start_response)
        try:
            for chunk in chunks:
                self._write(chunk)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None and exc_info[1] is not None:
            if self._body:
                raise exc_info[1].with_traceback(exc_info[2])
        elif self._head is not None:
            raise ProtocolViolationError("called start_response twice")
        self._head = _parsed_head(status, headers)
        return self._write

    def _started(self) -> Head:
        if self._head is None:
            raise ProtocolViolationError("did not call start_response before its body")
        return self._head

    def _write(self, chunk: bytes) -> None:
        if self.abandoned:
            raise _AbandonedError
        if not isinstance(chunk, bytes):
            raise ProtocolViolationError(f"gave a body of {type(chunk).__name__}, not of bytes")
        if not chunk:
            return
        status, headers = self._started()
        self._limit.count(len(chunk))
        if self._environ["REQUEST_METHOD"] == "HEAD":
            return
        if self._pieces is not None and not self._body:
            self._take = self._pieces.start(status, httpx.Headers(headers))
        self._body += chunk
        if self._take is not None:
            self._take(chunk)


def _parsed_head(status: str, headers: list[tuple[str, str]]) -> Head:
    try:
        code = _STATUS.fullmatch(status)
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except (AttributeError, TypeError, ValueError):
        code, encoded = None, []
    if code is None:
        raise ProtocolViolationError("called start_response with an invalid status or headers")
    return int(code[1]), encoded


def _to_environ(request: httpx.Request, body: bytes) -> dict[str, Any]:
    """The environ of PEP 3333 for a request; as the PEP specifies, bytes are decoded as Latin-1."""
    url = request.url
    raw_path, _, query = url.raw_path.partition(b"?")
    return {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": url.host,
        "SERVER_PORT": str(url.port or {"http": 80, "https": 443}[url.scheme]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        **_header_variables(request),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _header_variables(request: httpx.Request) -> dict[str, str]:
    variables: dict[str, str] = {}
    for raw_name, raw_value in request.headers.raw:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        variables[key] = f"{variables[key]},{value}" if key in variables else value
    return variables
