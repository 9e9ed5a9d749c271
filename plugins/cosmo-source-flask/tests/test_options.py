"""Options: checked at construction, which runs nothing; the first call resolves an import string."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import fastapi
import flask
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_flask import asgi, wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from cosmo_source_flask import AsgiNeuron, WsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


def app(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("construction must not call the app")


async def async_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("construction must not call the app")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"default_method": "G T"}, "default_method='G T'"),
        ({"default_path": "users"}, "default_path='users'"),
        ({"base_headers": {"X": "a\nb"}}, r"base_headers\['X'\]"),
        (
            {"base_headers": [("X", "a")]},
            "base_headers: an object of names to strings is needed; the given list is not shown",
        ),
        ({"timeout": 0}, "timeout=0: a positive number of seconds"),
        ({"timeout": True}, "timeout=True"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": None}, "timeout=None"),
        ({"follow_redirects": 1}, "follow_redirects=1: True or False"),
        ({"max_redirects": -1}, "max_redirects=-1"),
        ({"max_response_bytes": 0}, "max_response_bytes=0: an integer, at least 1,"),
        ({"threads": 0}, "threads=0"),
        ({"threads": 1.5}, r"threads=1\.5"),
        ({"app": "module"}, "app='module': an import string such as 'package.module:app'"),
        ({"app": "module:"}, "an import string"),
        ({"app": "../module:app"}, "an import string"),
        ({"app": "module:app()"}, "an import string"),
    ],
)
def test_invalid_value_is_refused(option: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wsgi(**{"app": app, **option})


def test_lifespan_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="lifespan='auto'"):
        asgi(app=async_app, lifespan="auto")


@pytest.mark.parametrize(
    ("make", "wrong", "reason"),
    [
        (wsgi, {}, "wsgi needs app"),
        (asgi, {"app": None}, "asgi needs app"),
        (
            wsgi,
            {"app": app, "tiemout": 1},
            r"wsgi has no option tiemout \(did you mean timeout\?\); it has app, base_headers",
        ),
        (wsgi, {"app": app, "lifespan": True}, "wsgi has no option lifespan"),
        (asgi, {"app": async_app, "threads": 1}, "asgi has no option threads"),
        (wsgi, {"app": 1}, r"builtins\.int cannot be called with \(environ, start_response\)"),
        (wsgi, {"app": fastapi.FastAPI()}, "for an app of ASGI use source='asgi'"),
        (wsgi, {"app": async_app}, "for an app of ASGI use source='asgi'"),
        (asgi, {"app": flask.Flask("a")}, "for an app of WSGI use source='flask'"),
        (asgi, {"app": lambda: None}, r"cannot be called with \(scope, receive, send\)"),
    ],
)
def test_missing_or_unsuitable_app_and_unknown_option_are_refused(
    make: Callable[..., object], wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TypeError, match=reason):
        make(**wrong)


@pytest.mark.parametrize("given", [app, partial(app), lambda *both: app(*both), flask.Flask("a"), "a.b:c.d"])
def test_any_callable_with_the_signature_of_wsgi_is_accepted(given: Any) -> None:
    assert repr(wsgi(app=given)).startswith("<WsgiNeuron app=")


async def test_unused_neuron_can_be_closed() -> None:
    await wsgi(app=app).aclose()
    await asgi(app=async_app).aclose()


def test_headers_are_copied_at_construction() -> None:
    headers = {"X": "a"}
    neuron = wsgi(app=app, base_headers=headers)
    headers["X"] = "a\r\nb"
    assert neuron._options.base_headers == {"x": "a"}


# --- import strings -----------------------------------------------------------------------------------


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the module ``cosmo_flask_test_shop``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> None:
        (tmp_path / "cosmo_flask_test_shop.py").write_text(source)

    yield write
    sys.modules.pop("cosmo_flask_test_shop", None)


WSGI_SHOP = """
class web:
    def app(environ, start_response):
        start_response("200 OK", [])
        return [__name__.encode()]
"""
ASGI_SHOP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": __name__.encode()})
"""


async def test_first_call_resolves_the_import_string(
    make_wsgi: Callable[..., WsgiNeuron],
    make_asgi: Callable[..., AsgiNeuron],
    ask: Ask,
    write_module: Callable[[str], None],
) -> None:
    web = make_wsgi("cosmo_flask_test_shop:web.app")
    assert repr(web) == "<WsgiNeuron app='cosmo_flask_test_shop:web.app'>"
    write_module(WSGI_SHOP)
    assert (await ask(web))["response"] == "cosmo_flask_test_shop"

    del sys.modules["cosmo_flask_test_shop"]
    write_module(ASGI_SHOP)
    api = make_asgi("cosmo_flask_test_shop:app")
    assert (await ask(api))["response"] == "cosmo_flask_test_shop"

    del sys.modules["cosmo_flask_test_shop"]
    write_module("raise LookupError")
    assert (await ask(web))["ok"]
    assert (await ask(api))["ok"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise LookupError('own words')", "cannot be imported: LookupError"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit"),
        ("ap = 1", "cannot be imported: AttributeError"),
        ("import cosmo_no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("app = 1", r"cosmo_flask_test_shop:app cannot be called with"),
    ],
)
@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
async def test_failed_import_is_an_error_and_the_next_call_tries_again(
    make_wsgi: Callable[..., WsgiNeuron],
    make_asgi: Callable[..., AsgiNeuron],
    ask: Ask,
    write_module: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    source: str,
    reason: str,
) -> None:
    write_module(source)
    neuron = (make_wsgi if kind == "wsgi" else make_asgi)("cosmo_flask_test_shop:app")
    with pytest.raises(NeuronError, match=reason) as caught:
        await ask(neuron)
    assert (caught.value.code, caught.value.recoverable) == ("APP_IMPORT_FAILED", False)
    assert caught.value.__context__ is None
    assert ("Traceback" in caplog.text) == ("cannot be imported" in reason)

    sys.modules.pop("cosmo_flask_test_shop", None)
    write_module(WSGI_SHOP.replace("class web", "if True") if kind == "wsgi" else ASGI_SHOP)
    assert (await ask(neuron))["ok"]
