"""One call: a request, the redirects that follow within the app, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpx

from cosmo_llm import read_up_to
from cosmo_source_flask.failures import Failures
from cosmo_source_flask.options import AppOptions
from cosmo_source_flask.request import Request
from cosmo_source_flask.streaming import EXTENSION, Pieces

if TYPE_CHECKING:
    import urllib.request


class _InProcessPolicy(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        # In-process there is no network to protect it from: a cookie for https only may be sent back.
        cookie.secure = False
        return super().set_ok(cookie, request)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """The answer of an app.

    Attributes:
        response: The last response, without its body.
        body: Its body.
        redirects: The paths that were requested before and redirected.
        cookies: The cookies that the app set during the call.
    """

    response: httpx.Response
    body: bytes
    redirects: list[str]
    cookies: dict[str, str]


async def exchange(
    transport: httpx.AsyncBaseTransport,
    request: Request,
    options: AppOptions,
    failures: Failures,
    pieces: Pieces | None = None,
) -> Reply:
    """Send a request, and follow its redirects within the app; ``pieces`` takes the body as it comes.

    Each call has a client of its own, so that no call sees the cookies that another call received.

    httpx builds the request that a redirect leads to. It does not follow it by itself here, as it has no
    guard for the host, and as it would read and decompress the body of every redirect, without a limit
    (`test_body_of_a_followed_redirect_is_not_decompressed`).

    Raises:
        EncodingError: The body cannot be decompressed.
        httpx.HTTPError: A redirect leads to an invalid URL.
        httpx.InvalidURL: A redirect leads to an invalid URL.
        NeuronError: The transport raised it, the body exceeds its size limit, or there are more redirects
            than the options allow.
    """
    jar, given = _cookie_jar(request)
    client = httpx.AsyncClient(transport=transport, cookies=jar, timeout=None, trust_env=False)  # noqa: S113 - the Neuron's own covers the call
    # Uncompressed, unless the caller asks for an encoding.
    headers = {"accept-encoding": "identity", **request.headers}
    async with client:
        extensions = None if pieces is None else {EXTENSION: pieces}
        sent = client.build_request(
            request.method, request.url, headers=headers, extensions=extensions, **request.body
        )
        response = await client.send(sent, stream=True)
        redirects: list[str] = []
        while (following := _within_app(response, options)) is not None:
            if len(redirects) == options.max_redirects:
                raise failures.too_many_redirects()
            redirects.append(path_of(response))
            response = await client.send(following, stream=True)
        body, is_complete = await read_up_to(options.max_response_bytes, response)
    if not is_complete:
        raise failures.too_large()
    set_by_app = [cookie for cookie in jar if not any(cookie is other for other in given)]
    return Reply(response, body, redirects, {cookie.name: cookie.value or "" for cookie in set_by_app})


def path_of(response: httpx.Response) -> str:
    """The path and the query of the request that a response answers."""
    return response.request.url.raw_path.decode("ascii")


def _within_app(response: httpx.Response, options: AppOptions) -> httpx.Request | None:
    """The request that a redirect leads to, if it stays at the app's own host, with either scheme."""
    following = response.next_request if options.follow_redirects else None
    if following is None or following.url.scheme not in ("http", "https"):
        return None
    return following if following.url.host == response.request.url.host else None


def _cookie_jar(request: Request) -> tuple[CookieJar, list[Cookie]]:
    """The cookies of a request, as a jar and as a list, to tell them from those that the app sets."""
    jar = CookieJar(_InProcessPolicy())
    cookies = httpx.Cookies(jar)
    host = request.url.host
    # The domain under which the jar stores the app's cookies, so that the app can replace and delete these.
    domain = host if "." in host else f"{host}.local"
    for name, value in request.cookies.items():
        cookies.set(name, value, domain=domain)
    return jar, list(jar)
