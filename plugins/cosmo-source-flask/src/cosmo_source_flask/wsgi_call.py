"""One request to a WSGI app, as PEP 3333 has it: run to its end in one thread.

httpx has a transport for WSGI too, but it hands over paths beyond ASCII undecodable and drops what an app
writes with ``write``; Werkzeug's test client collects that without a limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx

from cosmo_source_flask.body import BodyLimit, SlicedBody
from cosmo_source_flask.failures import BrokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from wsgiref.types import WSGIApplication

    from cosmo_core.errors import NeuronError
    from cosmo_source_flask.application import Application
    from cosmo_source_flask.failures import Failures

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_STATUS: Final = re.compile(r"([1-9][0-9]{2})(?: .*)?")

Head = tuple[int, list[tuple[bytes, bytes]]]


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class WsgiCall:
    """Runs the app on one request and collects its answer.

    Args:
        application: The app.
        environ: The request.
        limit: The most bytes of body to collect.
        failures: Words what goes wrong.

    Attributes:
        abandoned: Set when nobody waits any more; the body is then not read further.
    """

    def __init__(
        self, application: Application, environ: dict[str, Any], limit: int, failures: Failures
    ) -> None:
        self.abandoned = False
        self._application = application
        self._environ = environ
        self._failures = failures
        self._allowed = BodyLimit(limit)
        self._head: Head | None = None
        self._body = bytearray()

    def __call__(self) -> httpx.Response:
        """Run the app, and return what it answered.

        Raises:
            NeuronError: The app cannot be imported, raised, or broke the protocol.
            AbandonedError: Nobody waits any more.
        """
        app = self._application.load()
        try:
            self._run(app)
            status, headers = self._started()
        except AbandonedError:
            raise
        except BaseException as error:  # noqa: BLE001 - a view may even exit; that ends the call, not the loop
            failure = self._failure_of(error)
        else:
            if not self._allowed.exceeded:
                return httpx.Response(status, headers=headers, stream=SlicedBody(bytes(self._body)))
            failure = self._failures.too_large()
        # Raised out here, so that it does not hold the other exception.
        raise failure

    def _failure_of(self, error: BaseException) -> NeuronError:
        if self._allowed.exceeded:
            return self._failures.too_large()
        if isinstance(error, BrokenError):
            return self._failures.broken(str(error))
        return self._failures.raised(error)

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
            raise BrokenError("called start_response twice")
        self._head = _parsed_head(status, headers)
        return self._write

    def _started(self) -> Head:
        if self._head is None:
            raise BrokenError("did not call start_response before its body")
        return self._head

    def _write(self, chunk: bytes) -> None:
        if self.abandoned:
            raise AbandonedError
        if not isinstance(chunk, bytes):
            raise BrokenError(f"gave a body of {type(chunk).__name__}, not of bytes")
        if not chunk:
            return
        self._started()
        self._allowed.take(len(chunk))
        if self._environ["REQUEST_METHOD"] != "HEAD":
            self._body += chunk


def _parsed_head(status: str, headers: list[tuple[str, str]]) -> Head:
    try:
        code = _STATUS.fullmatch(status)
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except (AttributeError, TypeError, ValueError):
        code, encoded = None, []
    if code is None:
        raise BrokenError("called start_response with what is no status and headers")
    return int(code[1]), encoded
