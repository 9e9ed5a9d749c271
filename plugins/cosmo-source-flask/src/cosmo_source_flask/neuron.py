"""The Neurons that this distribution makes: one for WSGI apps, one for ASGI apps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from cosmo_source_flask.application import Application, label
from cosmo_source_flask.asgi_transport import AsgiTransport
from cosmo_source_flask.body import BodyTooLargeError
from cosmo_source_flask.exchange import TooManyRedirectsError, exchange
from cosmo_source_flask.failures import Failures
from cosmo_source_flask.output import to_output
from cosmo_source_flask.request import to_request
from cosmo_source_flask.wsgi_transport import WsgiTransport

if TYPE_CHECKING:
    from cosmo_source_flask.options import AsgiOptions, Options, WsgiOptions


class _AppNeuron:
    """What both kinds share; its calls share nothing but the app."""

    def __init__(
        self, options: Options, transport: WsgiTransport | AsgiTransport, failures: Failures
    ) -> None:
        self._options = options
        self._transport = transport
        self._failures = failures

    def __repr__(self) -> str:
        return f"<{type(self).__name__} app={label(self._options.app)!r}>"

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK with one request, and the redirects it leads to.

        Args:
            input: ``{method, path, query, headers, cookies, json, data, files}``, each of them optional; an
                input without any of these is itself the JSON body.
            context: Not used; what belongs into the request is in the input.

        Returns:
            ``{status, ok, json, response, headers, meta}``, whatever the status.

        Raises:
            NeuronError: The input does not fit, or the app failed; see the README for the codes.
        """
        request = to_request(input, self._options)
        try:
            async with asyncio.timeout(self._options.timeout):
                reply = await exchange(self._transport, request, self._options)
            return to_output(reply)
        except TimeoutError:
            failure = self._failures.timed_out()
        except BodyTooLargeError:
            failure = self._failures.too_large()
        except TooManyRedirectsError:
            failure = self._failures.too_many_redirects()
        except httpx.DecodingError:
            failure = self._failures.broken("sent a body that cannot be decompressed")
        except (httpx.RemoteProtocolError, httpx.InvalidURL):
            failure = self._failures.broken("redirected to what is no URL")
        # Raised out here, so that it holds no other exception: that one holds the request and its headers.
        raise failure

    async def aclose(self) -> None:
        """Give back what the calls opened: an ASGI app is shut down, the threads of a WSGI app end.

        A view that runs in a thread goes on to its end. A later call opens anew what it needs.
        """
        await self._transport.shut_down()


class WsgiNeuron(_AppNeuron):
    """``async (input, context) -> output``, answered by a WSGI app in threads of the Neuron's own."""

    def __init__(self, options: WsgiOptions) -> None:
        failures = Failures(options)
        application = Application(options.app, options.interface, failures)
        super().__init__(options, WsgiTransport(application, options, failures), failures)


class AsgiNeuron(_AppNeuron):
    """``async (input, context) -> output``, answered by an ASGI app in the caller's event loop."""

    def __init__(self, options: AsgiOptions) -> None:
        failures = Failures(options)
        application = Application(options.app, options.interface, failures)
        super().__init__(options, AsgiTransport(application, options, failures), failures)
