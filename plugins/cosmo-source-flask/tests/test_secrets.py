"""No error, log, repr or output shows the values of base_headers."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_flask import wsgi
from cosmo_source_flask.options import WsgiOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_source_flask import WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron]

TOKEN, SESSION = "token-0123456789", "session-0123456789"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"session={SESSION}"}


def careless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Fail as the path says, in a way that could show the secrets."""
    token, cookie = environ["HTTP_AUTHORIZATION"], environ["HTTP_COOKIE"]
    assert (token, cookie) == (HEADERS["Authorization"], HEADERS["Cookie"])
    match environ["PATH_INFO"]:
        case "/raise":
            raise ValueError(f"no such token: {token.split()[1]} in {cookie}")
        case "/break":
            return [token.encode()]
        case "/loop":
            start_response("302 Found", [("Location", f"/loop?{token}")])
        case "/nowhere":
            start_response("302 Found", [("Location", f"http://[::{token}")])
        case "/large":
            start_response("200 OK", [])
            return [token.encode() * 100]
        case _:
            start_response("200 OK", [])
    return []


def assert_clean(text: str) -> None:
    assert TOKEN not in text
    assert SESSION not in text


@pytest.mark.parametrize("path", ["/raise", "/break", "/loop", "/nowhere", "/large", "bad"])
async def test_error_and_log_do_not_show_a_secret(
    make_wsgi: Make, ask: Ask, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="cosmo_source_flask")
    neuron = make_wsgi(careless, base_headers=HEADERS, max_response_bytes=1000, max_redirects=2)
    with pytest.raises(NeuronError) as caught:
        await ask(neuron, {"path": path})
    error = caught.value
    assert_clean(f"{error} {error!r} {vars(error)}")
    assert (error.__cause__, error.__context__) == (None, None)
    assert_clean("".join(traceback.format_exception(error)))
    assert_clean("\n".join(record.getMessage() for record in caplog.records if "httpx" not in record.name))
    if path == "/raise":
        assert "no such token: [redacted] in [redacted]" in caplog.text


async def test_output_does_not_show_a_secret(make_wsgi: Make, ask: Ask) -> None:
    assert_clean(str(await ask(make_wsgi(careless, base_headers=HEADERS))))


def test_repr_does_not_show_a_secret() -> None:
    neuron = wsgi(app=careless, base_headers=HEADERS)
    options = WsgiOptions.parse({"app": careless, "base_headers": HEADERS})
    assert_clean(f"{neuron!r} {options!r} {list(map(repr, vars(neuron).values()))}")
    assert "careless" in repr(neuron)


def test_repr_does_not_include_the_repr_of_the_app() -> None:
    class Confidential:
        def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return []

        def __repr__(self) -> str:
            return TOKEN

    assert_clean(repr(wsgi(app=Confidential())))


@pytest.mark.parametrize(
    "option",
    [
        {"timeout": -1},
        {"tiemout": 1},
        {"base_headers": {"X": f"{TOKEN}\r\n"}},
        {"base_headers": TOKEN},
        {"base_headers": {"X": [TOKEN]}},
        {"base_headers": {"Host": f"{TOKEN}/"}},
    ],
)
def test_construction_error_does_not_show_a_secret(option: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        wsgi(**{"app": careless, "base_headers": HEADERS, **option})
    assert_clean(str(caught.value))
