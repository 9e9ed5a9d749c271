"""The Neurons of this distribution, for WSGI and for ASGI apps, and the functions that make them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from cosmo_llm import EncodingError
from cosmo_source_flask.app import AppLoader, label
from cosmo_source_flask.asgi_transport import AsgiTransport
from cosmo_source_flask.exchange import exchange
from cosmo_source_flask.failures import Failures
from cosmo_source_flask.options import AppOptions, AsgiOptions, WsgiOptions
from cosmo_source_flask.output import to_output
from cosmo_source_flask.request import to_request
from cosmo_source_flask.streaming import Pieces
from cosmo_source_flask.wsgi_transport import WsgiTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    Transport = WsgiTransport | AsgiTransport


class _AppNeuron:
    """The common part of both Neurons. Its calls share nothing but the app.

    Args:
        options: The options of the Neuron.
        connect: Makes the transport to the app.
    """

    def __init__(self, options: AppOptions, connect: Callable[[AppLoader, Failures], Transport]) -> None:
        self._options = options
        self._failures = Failures(
            app=label(options.app),
            interface=options.INTERFACE.name,
            timeout_s=options.timeout,
            max_response_bytes=options.max_response_bytes,
            max_redirects=options.max_redirects,
            secrets=options.secrets,
        )
        loader = AppLoader(options.app, options.INTERFACE, self._failures)
        self._transport = connect(loader, self._failures)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} app={label(self._options.app)!r}>"

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Run one TASK: one request, and the redirects that follow.

        Args:
            input: ``{method, path, query, headers, cookies, json, data, files, content_base64}``, each of
                them optional; an input without any of these is itself the JSON body.
            context: Not used.

        Returns:
            ``{status, ok, json, response, headers, meta}``, for any status.

        Raises:
            NeuronError: The input is invalid, or the app failed; the README lists the codes.
        """
        return await self._answer(input, None)

    async def aclose(self) -> None:
        """Release what the calls opened: an ASGI app is shut down, and the threads of a WSGI app end.

        A view that runs in a thread continues to its end. A later call opens what it needs.
        """
        await self._transport.shut_down()

    async def _answer(self, input: dict[str, Any], pieces: Pieces | None) -> dict[str, Any]:
        options = self._options
        request = to_request(
            input,
            default_method=options.default_method,
            default_path=options.default_path,
            base_headers=options.base_headers,
        )
        try:
            async with asyncio.timeout(options.timeout) as limit:
                if pieces is not None:
                    pieces.on_piece = partial(_extend, limit, options.timeout)
                reply = await exchange(self._transport, request, options, self._failures, pieces)
            return to_output(reply)
        except TimeoutError:
            failure = self._failures.timed_out()
        except (httpx.DecodingError, EncodingError):
            failure = self._failures.violated("sent a body that cannot be decompressed")
        except (httpx.RemoteProtocolError, httpx.InvalidURL):
            failure = self._failures.violated("redirected to an invalid URL")
        finally:
            if pieces is not None:
                pieces.end()
        # Raised outside the except block, so that __context__ does not keep the request and its headers.
        raise failure


def _extend(limit: asyncio.Timeout, seconds: float) -> None:
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time() + seconds)


class WsgiNeuron(_AppNeuron):
    """``async (input, context) -> output``, answered by a WSGI app in threads of the Neuron's own."""

    def __init__(self, options: WsgiOptions) -> None:
        super().__init__(options, partial(WsgiTransport, threads=options.threads))


class AsgiNeuron(_AppNeuron):
    """``async (input, context) -> output``, answered by an ASGI app in the caller's event loop."""

    def __init__(self, options: AsgiOptions) -> None:
        super().__init__(options, partial(AsgiTransport, lifespan=options.lifespan))


class _StreamingNeuron(_AppNeuron):
    async def __call__(  # type: ignore[override]  # an Axon calls either kind
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[Any]:
        """Run one TASK, as a Neuron that does not stream does. The time limit is that of each piece."""
        pieces = Pieces()
        answering = asyncio.create_task(self._answer(input, pieces))
        try:
            async for piece in pieces.until(answering):
                yield piece
            output = await answering
            if rest := pieces.finish(output):
                yield rest
            yield output
        finally:
            answering.cancel()
            await asyncio.wait([answering])


class StreamingWsgiNeuron(_StreamingNeuron, WsgiNeuron):
    """The same as an async generator: the body as text, as it comes, and then the output."""


class StreamingAsgiNeuron(_StreamingNeuron, AsgiNeuron):
    """The same as an async generator: the body as text, as it comes, and then the output."""


def wsgi(**options: Any) -> WsgiNeuron:
    """Make a Neuron for a WSGI app, such as a Flask app.

    Nothing runs yet: the first call imports an app that is given as an import string.

    Args:
        **options: ``app``, ``default_method``, ``default_path``, ``base_headers``, ``timeout``, ``stream``,
            ``follow_redirects``, ``max_redirects``, ``max_response_bytes`` and ``threads``; the README
            describes each.

    Raises:
        TypeError: ``app`` is missing or not a WSGI app, or there is no such option.
        ValueError: The value of an option cannot work.
    """
    parsed = WsgiOptions.parse(options)
    return StreamingWsgiNeuron(parsed) if parsed.stream else WsgiNeuron(parsed)


def asgi(**options: Any) -> AsgiNeuron:
    """Make a Neuron for an ASGI app, such as a FastAPI app.

    Nothing runs yet: the first call imports an app that is given as an import string, and starts the app.

    Args:
        **options: ``app``, ``default_method``, ``default_path``, ``base_headers``, ``timeout``, ``stream``,
            ``follow_redirects``, ``max_redirects``, ``max_response_bytes`` and ``lifespan``; the README
            describes each.

    Raises:
        TypeError: ``app`` is missing or not an ASGI app, or there is no such option.
        ValueError: The value of an option cannot work.
    """
    parsed = AsgiOptions.parse(options)
    return StreamingAsgiNeuron(parsed) if parsed.stream else AsgiNeuron(parsed)
