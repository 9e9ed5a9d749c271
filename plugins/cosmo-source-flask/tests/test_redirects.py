"""Redirects are followed within the app's own host only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from cosmo_source_flask import WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Redirect to the location in the query; without a query, answer with the request."""
    if location := environ["QUERY_STRING"]:
        start_response(f"{environ['PATH_INFO'][1:]} Redirect", [("Location", location)])
        return [b"elsewhere"]
    start_response("200 OK", [])
    scheme, host = environ["wsgi.url_scheme"], environ["HTTP_HOST"]
    body = environ["wsgi.input"].read().decode()
    return [f"{environ['REQUEST_METHOD']} {scheme}://{host}{environ['PATH_INFO']} {body}".encode()]


@pytest.mark.parametrize(
    ("status", "method", "arrived"),
    [
        (301, "POST", "GET http://localhost/there "),
        (302, "POST", "GET http://localhost/there "),
        (303, "PUT", "GET http://localhost/there "),
        (307, "POST", "POST http://localhost/there body"),
        (308, "PUT", "PUT http://localhost/there body"),
    ],
)
async def test_redirect_keeps_or_changes_the_method_as_a_browser_does(
    make_wsgi: Make, ask: Ask, status: int, method: str, arrived: str
) -> None:
    input = {"method": method, "path": f"/{status}", "query": "/there", "data": "body"}
    output = await ask(make_wsgi(app), input)
    assert output["response"] == arrived
    assert output["meta"]["redirects"] == [f"/{status}?/there"]


@pytest.mark.parametrize(
    ("host", "location", "arrived"),
    [
        ("shop.example", "http://shop.example/there", "GET http://shop.example/there "),
        ("shop.example", "https://shop.example/there", "GET https://shop.example/there "),
        ("shop.example:8080", "//shop.example:8080/there", "GET http://shop.example:8080/there "),
        ("127.0.0.1", "there", "GET http://127.0.0.1/there "),
    ],
)
async def test_redirect_is_followed_on_the_host_of_the_host_header(
    make_wsgi: Make, ask: Ask, host: str, location: str, arrived: str
) -> None:
    input = {"path": "/302", "query": location, "headers": {"Host": host}}
    assert (await ask(make_wsgi(app), input))["response"] == arrived


@pytest.mark.parametrize("location", ["http://other.example/", "//other.example/", "ftp://localhost/"])
async def test_redirect_to_another_host_or_scheme_is_an_output(
    make_wsgi: Make, ask: Ask, location: str
) -> None:
    output = await ask(make_wsgi(app), {"path": "/302", "query": location})
    assert (output["status"], output["ok"], output["response"]) == (302, False, "elsewhere")
    assert output["headers"]["location"] == location


async def test_redirect_is_an_output_with_follow_redirects_false(make_wsgi: Make, ask: Ask) -> None:
    output = await ask(make_wsgi(app, follow_redirects=False), {"path": "/302", "query": "/there"})
    assert (output["status"], output["meta"]["redirects"]) == (302, [])


async def test_body_of_a_followed_redirect_is_not_decompressed(make_wsgi: Make, ask: Ask) -> None:
    def redirect(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["QUERY_STRING"]:
            start_response("200 OK", [])
            return [b"arrived"]
        start_response("302 Found", [("Location", "/?there"), ("Content-Encoding", "gzip")])
        return [b"not gzip, so decompressing it would fail"]

    assert (await ask(make_wsgi(redirect)))["response"] == "arrived"


async def test_redirect_loop_is_an_error(make_wsgi: Make, ask: Ask) -> None:
    def loop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK" if environ["QUERY_STRING"] else "302 Found", [("Location", "/")])
        return []

    neuron = make_wsgi(loop, max_redirects=3)
    with pytest.raises(NeuronError, match="redirected more than 3 times in a row") as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("TOO_MANY_REDIRECTS", False)
    assert caught.value.__context__ is None
    assert (await ask(neuron, {"query": "stop"}))["ok"]


@pytest.mark.parametrize(
    ("allowed", "code"), [(2, None), (1, "TOO_MANY_REDIRECTS"), (0, "TOO_MANY_REDIRECTS")]
)
async def test_max_redirects_is_the_number_that_is_followed(
    make_wsgi: Make, ask: Ask, allowed: int, code: str | None
) -> None:
    neuron = make_wsgi(app, max_redirects=allowed)
    input = {"path": "/302", "query": "/303?/there"}
    if code is None:
        assert (await ask(neuron, input))["response"] == "GET http://localhost/there "
    else:
        with pytest.raises(NeuronError) as caught:
            await ask(neuron, input)
        assert caught.value.code == code


@pytest.mark.parametrize("location", ["http://[::1", "mailto:ada@shop.example"])
async def test_redirect_to_an_invalid_url_is_an_app_error(make_wsgi: Make, ask: Ask, location: str) -> None:
    with pytest.raises(NeuronError, match="it redirected to an invalid URL") as caught:
        await ask(make_wsgi(app), {"path": "/302", "query": location})
    assert caught.value.code == "APP_ERROR"
    assert caught.value.__context__ is None
