"""One call: a request, the redirects it leads to within the app, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpx

from cosmo_source_flask.body import read_within

if TYPE_CHECKING:
    import urllib.request

    from cosmo_source_flask.options import Options
    from cosmo_source_flask.request import Request


class _InProcessPolicy(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        # No wire, no eavesdropper: a cookie for https only may be sent back.
        cookie.secure = False
        return super().set_ok(cookie, request)


class TooManyRedirectsError(Exception):
    """One redirect followed another, once more than is allowed."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """What an app answered.

    Attributes:
        response: The last response, without its body.
        body: Its body.
        redirects: The paths that led elsewhere before.
        cookies: The cookies that the app set on the way.
    """

    response: httpx.Response
    body: bytes
    redirects: list[str]
    cookies: dict[str, str]


async def exchange(transport: httpx.AsyncBaseTransport, request: Request, options: Options) -> Reply:
    """Send a request, and follow its redirects.

    A client per call: what one call's answers set, such as cookies, no other call may see.

    Raises:
        BodyTooLargeError: The answer is larger than the options allow.
        TooManyRedirectsError: There are more redirects than the options allow.
        httpx.HTTPError: The answer cannot be decompressed, or redirects to what is no URL.
        httpx.InvalidURL: The same.
        NeuronError: Whatever the transport raises.
    """
    jar, given = _cookie_jar(request)
    client = httpx.AsyncClient(transport=transport, cookies=jar, timeout=None, trust_env=False)  # noqa: S113 - the Neuron's own covers the call
    # Uncompressed, unless the caller wants it otherwise.
    headers = {"accept-encoding": "identity", **request.headers}
    async with client:
        sent = client.build_request(request.method, request.url, headers=headers, **request.body)
        response = await client.send(sent, stream=True)
        redirects: list[str] = []
        while (following := _within_app(response, options)) is not None:
            if len(redirects) == options.max_redirects:
                raise TooManyRedirectsError
            redirects.append(path_of(response))
            response = await client.send(following, stream=True)
        body = await read_within(options.max_response_bytes, response)
    set_by_app = [cookie for cookie in jar if not any(cookie is other for other in given)]
    return Reply(response, body, redirects, {cookie.name: cookie.value or "" for cookie in set_by_app})


def path_of(response: httpx.Response) -> str:
    """The path and query that were asked for."""
    return response.request.url.raw_path.decode("ascii")


def _within_app(response: httpx.Response, options: Options) -> httpx.Request | None:
    """The request that a redirect asks for, if it stays at the app's own host, whatever the scheme."""
    following = response.next_request if options.follow_redirects else None
    if following is None or following.url.scheme not in ("http", "https"):
        return None
    return following if following.url.host == response.request.url.host else None


def _cookie_jar(request: Request) -> tuple[CookieJar, list[Cookie]]:
    """The cookies of the request as a jar, and as they are before the app sets its own."""
    jar = CookieJar(_InProcessPolicy())
    cookies = httpx.Cookies(jar)
    host = request.url.host
    # As the jar files what an app sets, so that the app can replace and delete them.
    domain = host if "." in host else f"{host}.local"
    for name, value in request.cookies.items():
        cookies.set(name, value, domain=domain)
    return jar, list(jar)
