"""A real Flask app: sessions, uploads, forms, streams, redirects, errors."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import flask
import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cosmo_source_flask import WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., WsgiNeuron]


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask("shop")
    app.secret_key = "of the test"
    app.config["SESSION_COOKIE_SECURE"] = True
    app.add_url_rule("/login", view_func=login, methods=["POST"])
    app.add_url_rule("/logout", view_func=logout, methods=["POST"])
    app.add_url_rule("/me/", view_func=me)
    app.add_url_rule("/upload", view_func=upload, methods=["POST"])
    app.add_url_rule("/count", view_func=count)
    app.add_url_rule("/straße", view_func=lambda: "found")
    app.add_url_rule("/fail", view_func=fail)
    return app


def login() -> flask.typing.ResponseReturnValue:
    flask.session["user"] = flask.request.form["user"]
    return flask.redirect(flask.url_for("me"))


def logout() -> flask.typing.ResponseReturnValue:
    flask.session.clear()
    return flask.redirect(flask.url_for("me"))


def me() -> dict[str, Any]:
    return {"user": flask.session.get("user")}


def upload() -> list[dict[str, Any]]:
    files = flask.request.files.items(multi=True)
    return [
        {
            "field": field,
            "name": file.filename,
            "type": file.mimetype,
            "size": len(file.read()),
            "title": flask.request.form.get("title"),
        }
        for field, file in files
    ]


def count() -> flask.Response:
    def numbers() -> Iterator[str]:
        for number in range(int(flask.request.args["to"])):
            yield f"{number}\n"

    return flask.Response(flask.stream_with_context(numbers()), mimetype="text/plain")


def fail() -> str:
    raise LookupError("the view's own words")


@pytest.mark.parametrize("host", ["localhost", "shop.example", "127.0.0.1:5000"])
async def test_session_continues_after_a_redirect(
    make_wsgi: Make, ask: Ask, app: flask.Flask, host: str
) -> None:
    neuron = make_wsgi(app, base_headers={"Host": host})
    output = await ask(neuron, {"path": "/login", "data": {"user": "ada"}})
    assert output["json"] == {"user": "ada"}
    assert (output["meta"]["method"], output["meta"]["path"]) == ("GET", "/me/")
    assert output["meta"]["redirects"] == ["/login"]


async def test_session_continues_with_the_cookies_that_the_caller_passes(
    make_wsgi: Make, ask: Ask, app: flask.Flask
) -> None:
    neuron = make_wsgi(app, follow_redirects=False)
    welcome = await ask(neuron, {"path": "/login", "data": {"user": "ada"}})
    assert (welcome["status"], welcome["ok"]) == (302, False)
    assert welcome["headers"]["set-cookie"].startswith("session=")
    cookies = welcome["meta"]["cookies"]

    assert (await ask(neuron, {"path": "/me/", "cookies": cookies}))["json"] == {"user": "ada"}
    header = {"Cookie": f"theme=dark; session={cookies['session']}"}
    assert (await ask(neuron, {"path": "/me/", "headers": header}))["json"] == {"user": "ada"}
    assert (await ask(neuron, {"path": "/me/"}))["json"] == {"user": None}


@pytest.mark.parametrize("host", ["localhost", "shop.example", "127.0.0.1:5000"])
async def test_cookie_header_is_sent_after_a_redirect_until_the_app_deletes_it(
    make_wsgi: Make, ask: Ask, app: flask.Flask, host: str
) -> None:
    neuron = make_wsgi(app, base_headers={"Host": host})
    cookies = (await ask(neuron, {"path": "/login", "data": {"user": "ada"}}))["meta"]["cookies"]
    header = {"Cookie": f"session={cookies['session']}"}
    slash = await ask(neuron, {"path": "/me", "headers": header})
    assert slash["meta"]["redirects"] == ["/me"]
    assert slash["json"] == {"user": "ada"}
    gone = await ask(neuron, {"path": "/logout", "method": "POST", "headers": header})
    assert gone["json"] == {"user": None}
    assert gone["meta"]["cookies"] == {}


async def test_files_and_form_fields_reach_the_view(make_wsgi: Make, ask: Ask, app: flask.Flask) -> None:
    def file(name: str, size: int, **more: str) -> dict[str, str]:
        return {"filename": name, "content_base64": base64.b64encode(b"\0" * size).decode(), **more}

    files = {"photo": file("ä.png", 70_000, content_type="image/png"), "notes": [file("1", 0), file("2", 3)]}
    input = {"path": "/upload", "files": files, "data": {"title": "Größe"}}
    output = await ask(make_wsgi(app, base_headers={"Content-Type": "application/json"}), input)
    assert [(item["field"], item["name"], item["type"], item["size"]) for item in output["json"]] == [
        ("photo", "ä.png", "image/png", 70_000),
        ("notes", "1", "application/octet-stream", 0),
        ("notes", "2", "application/octet-stream", 3),
    ]
    assert {item["title"] for item in output["json"]} == {"Größe"}


async def test_streamed_response_is_collected(make_wsgi: Make, ask: Ask, app: flask.Flask) -> None:
    output = await ask(make_wsgi(app), {"path": "/count", "query": {"to": 1000}})
    assert output["response"] == "".join(f"{number}\n" for number in range(1000))
    assert output["json"] is None


@pytest.mark.parametrize("path", ["/straße", "/stra%C3%9Fe"])
async def test_path_may_be_in_any_script(make_wsgi: Make, ask: Ask, app: flask.Flask, path: str) -> None:
    assert (await ask(make_wsgi(app), {"path": path}))["response"] == "found"


@pytest.mark.parametrize(("path", "method", "status"), [("/no", "GET", 404), ("/login", "PUT", 405)])
async def test_error_status_is_an_output(
    make_wsgi: Make, ask: Ask, app: flask.Flask, path: str, method: str, status: int
) -> None:
    output = await ask(make_wsgi(app), {"path": path, "method": method})
    assert (output["status"], output["ok"]) == (status, False)
    assert "<h1>" in output["response"]


async def test_exception_in_a_view_is_a_500_by_default(
    make_wsgi: Make, ask: Ask, app: flask.Flask, caplog: pytest.LogCaptureFixture
) -> None:
    output = await ask(make_wsgi(app), {"path": "/fail"})
    assert (output["status"], output["ok"]) == (500, False)
    assert "LookupError" in caplog.text


async def test_exception_in_a_view_is_an_app_error_if_flask_propagates_it(
    make_wsgi: Make, ask: Ask, app: flask.Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.testing = True
    neuron = make_wsgi(app)
    with pytest.raises(NeuronError, match=r"flask\.app\.Flask raised LookupError") as caught:
        await ask(neuron, {"path": "/fail"})
    assert (caught.value.code, caught.value.recoverable) == ("APP_ERROR", False)
    assert "own words" not in str(caught.value)
    (record,) = [record for record in caplog.records if record.name == "cosmo_source_flask.failures"]
    assert record.levelno == logging.ERROR
    assert "the view's own words" in record.getMessage()
    assert "in fail" in record.getMessage()
    assert (await ask(neuron, {"path": "/count?to=1"}))["ok"]


async def test_prompt_reaches_the_view_as_json(make_wsgi: Make, ask: Ask) -> None:
    app = flask.Flask("greeter")
    app.add_url_rule("/", view_func=lambda: flask.request.get_json()["prompt"][::-1], methods=["POST"])
    assert (await ask(make_wsgi(app), {"prompt": "olleh"}))["response"] == "hello"
