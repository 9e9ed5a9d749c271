"""ASGI: a FastAPI app, and the raw protocol."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import logging
from typing import TYPE_CHECKING, Annotated, Any

import fastapi
import fastapi.responses
import pytest
from starlette.middleware.sessions import SessionMiddleware

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from cosmo_source_flask import AsgiNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., AsgiNeuron]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Receive = Callable[[], Awaitable[dict[str, Any]]]

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
current_user = contextvars.ContextVar("current_user", default="unset")


@pytest.fixture
def app() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="of the test")
    app.add_api_route("/double/{number}", double)
    app.add_api_route("/upload", upload, methods=["POST"])
    app.add_api_route("/login", login, methods=["POST"])
    app.add_api_route("/me", me)
    app.add_api_route("/count", count)
    app.add_api_route("/later", later)
    app.add_api_route("/fail", fail)
    return app


async def double(number: int, times: int = 2) -> dict[str, int]:
    return {"result": number * times}


async def upload(photo: fastapi.UploadFile, title: Annotated[str, fastapi.Form()]) -> dict[str, Any]:
    return {"name": photo.filename, "size": len(await photo.read()), "title": title}


async def login(request: fastapi.Request, user: Annotated[str, fastapi.Form()]) -> fastapi.Response:
    request.session["user"] = user
    return fastapi.responses.RedirectResponse("/me", status_code=303)


def me(request: fastapi.Request) -> dict[str, Any]:
    return {"user": request.session.get("user")}


async def count() -> fastapi.responses.StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return fastapi.responses.StreamingResponse(numbers(), media_type="text/plain")


async def later(request: fastapi.Request, tasks: fastapi.BackgroundTasks) -> str:
    tasks.add_task(request.app.state.done.set)
    return "soon"


async def fail() -> None:
    raise LookupError("the view's own words")


async def test_fastapi_route_answers_and_validates(make_asgi: Make, ask: Ask, app: fastapi.FastAPI) -> None:
    neuron = make_asgi(app)
    output = await ask(neuron, {"path": "/double/21"})
    assert (output["status"], output["ok"], output["json"]) == (200, True, {"result": 42})
    assert (await ask(neuron, {"path": "/double/21", "query": {"times": 3}}))["json"] == {"result": 63}
    refused = await ask(neuron, {"path": "/double/x"})
    assert (refused["status"], refused["ok"]) == (422, False)
    assert refused["json"]["detail"][0]["loc"] == ["path", "number"]


async def test_upload_reaches_the_view(make_asgi: Make, ask: Ask, app: fastapi.FastAPI) -> None:
    photo = {"filename": "a.png", "content_base64": base64.b64encode(b"\0" * 100_000).decode()}
    input = {"path": "/upload", "files": {"photo": photo}, "data": {"title": "A"}}
    output = await ask(make_asgi(app), input)
    assert output["json"] == {"name": "a.png", "size": 100_000, "title": "A"}


async def test_session_continues_after_a_redirect_and_with_its_cookies(
    make_asgi: Make, ask: Ask, app: fastapi.FastAPI
) -> None:
    neuron = make_asgi(app)
    welcome = await ask(neuron, {"path": "/login", "data": {"user": "ada"}})
    assert welcome["json"] == {"user": "ada"}
    cookies = welcome["meta"]["cookies"]
    assert (await ask(neuron, {"path": "/me", "cookies": cookies}))["json"] == {"user": "ada"}
    assert (await ask(neuron, {"path": "/me"}))["json"] == {"user": None}


async def test_streamed_response_is_collected(make_asgi: Make, ask: Ask, app: fastapi.FastAPI) -> None:
    output = await ask(make_asgi(app), {"path": "/count"})
    assert output["response"] == "".join(f"{number}\n" for number in range(100))


async def test_background_task_ends_before_the_call_returns(
    make_asgi: Make, ask: Ask, app: fastapi.FastAPI
) -> None:
    app.state.done = asyncio.Event()
    assert (await ask(make_asgi(app), {"path": "/later"}))["json"] == "soon"
    assert app.state.done.is_set()


async def test_exception_in_a_view_is_an_app_error(
    make_asgi: Make, ask: Ask, app: fastapi.FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    neuron = make_asgi(app)
    with pytest.raises(NeuronError, match=r"FastAPI raised LookupError") as caught:
        await ask(neuron, {"path": "/fail"})
    assert (caught.value.code, caught.value.recoverable) == ("APP_ERROR", False)
    assert "own words" not in str(caught.value)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the view's own words" in record.getMessage()
    assert (await ask(neuron, {"path": "/double/1"}))["ok"]


async def test_each_call_has_a_copy_of_the_callers_context(make_asgi: Make, ask: Ask) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        seen = current_user.get()
        current_user.set("ada")
        await send(START)
        await send({"type": "http.response.body", "body": seen.encode()})

    neuron = make_asgi(app, lifespan=False)
    assert (await ask(neuron))["response"] == "unset"
    assert (await ask(neuron))["response"] == "unset"
    current_user.set("the caller's")
    assert (await ask(neuron))["response"] == "the caller's"


async def test_app_receives_disconnect_after_its_answer(make_asgi: Make, ask: Ask) -> None:
    seen = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await send(START)
        await send({"type": "http.response.body", "body": b"bye"})
        while seen[-1]["type"] != "http.disconnect":
            seen.append(await receive())

    assert (await ask(make_asgi(app, lifespan=False), {"data": "hi"}))["response"] == "bye"
    assert b"".join(message.get("body", b"") for message in seen) == b"hi"


async def send_all(send: Send, *messages: dict[str, Any]) -> None:
    for message in messages:
        await send(message)


async def cancel_itself(send: Send) -> None:
    raise asyncio.CancelledError


async def exit_itself(send: Send) -> None:
    raise SystemExit(3)


def body(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, **more}


VIOLATIONS: dict[str, Callable[[Send], Awaitable[None]]] = {
    "it returned without a complete response": lambda send: send_all(send),
    "it returned without a complete": lambda send: send_all(send, START),
    "it returned without": lambda send: send_all(send, START, body(b"a", more_body=True)),
    "it cancelled itself": cancel_itself,
    "raised SystemExit": exit_itself,
    "it sent its body before http.response.start": lambda send: send_all(send, body(b"a"), START),
    "it sent an invalid status": lambda send: send_all(send, {**START, "status": "200"}, body(b"")),
    "it sent an invalid statu": lambda send: send_all(send, {**START, "status": 20}, body(b"")),
    "it sent an invalid stat": lambda send: send_all(send, {"type": START["type"]}, body(b"")),
    "it sent headers that are not pairs": lambda send: send_all(send, {**START, "headers": [(b"a",)]}),
    "it sent headers that are not": lambda send: send_all(send, {**START, "headers": [(b"a", 1)]}),
    "it sent headers that are": lambda send: send_all(send, {**START, "headers": 1}),
    "it sent a body that is not bytes": lambda send: send_all(send, START, body("text")),
    "raised AssertionError": lambda send: send_all(send, START, START),
    "raised KeyError": lambda send: send({}),
}


@pytest.mark.parametrize(("reason", "app"), VIOLATIONS.items(), ids=list(VIOLATIONS))
async def test_violation_of_asgi_is_an_app_error(
    make_asgi: Make, ask: Ask, reason: str, app: Callable[[Send], Awaitable[None]]
) -> None:
    async def broken(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await app(send)

    with pytest.raises(NeuronError, match=reason) as caught:
        await ask(make_asgi(broken, lifespan=False))
    assert (caught.value.code, caught.value.recoverable) == ("APP_ERROR", False)
    assert caught.value.__context__ is None
