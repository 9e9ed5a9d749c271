"""The distribution: entry points, dependencies, the README, and a Neuron on a bus."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cosmo_source_flask
from cosmo_core import Axon, Dendrite, Neuron
from cosmo_core.contracts.neuron import NeuronFn
from cosmo_llm import Failure
from cosmo_source_flask import failures
from cosmo_source_flask.options import AsgiOptions, WsgiOptions
from cosmo_source_flask.request import FIELDS
from cosmo_synapse_memory import MemorySynapse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["flask", "wsgi", "asgi"])
def test_entry_points_load_the_sources(name: str) -> None:
    (found,) = entry_points(group="cosmo.sources", name=name)
    wanted = cosmo_source_flask.asgi if name == "asgi" else cosmo_source_flask.wsgi
    assert found.load() is wanted


def test_distribution_does_not_depend_on_a_web_framework() -> None:
    needed = {re.split(r"[<>=!~ ]", line, maxsplit=1)[0] for line in requires("cosmo-source-flask") or []}
    assert needed == {"cosmo-core", "cosmo-llm", "httpx", "msgspec"}
    assert "cosmo-plugin" in metadata("cosmo-source-flask")["Keywords"]


def test_plain_callable_works_without_a_web_framework() -> None:
    program = """
import asyncio, sys
for name in ("flask", "werkzeug", "starlette", "fastapi", "asgiref"):
    sys.modules[name] = None
from cosmo_core import Neuron
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"plain"]
print(asyncio.run(Neuron("wsgi", app=app)({}, []))["response"])
"""
    run = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "plain\n", "")


def test_plugin_interface_version_is_declared() -> None:
    assert cosmo_source_flask.COSMO_API == 1


def test_every_public_name_exists() -> None:
    for name in cosmo_source_flask.__all__:
        assert hasattr(cosmo_source_flask, name)


def test_neuron_has_the_shape_that_the_core_requires() -> None:
    neuron = Neuron("wsgi", app=lambda environ, start_response: [])
    assert isinstance(neuron, NeuronFn)
    assert inspect.iscoroutinefunction(neuron.__call__)


async def test_app_answers_tasks_on_a_bus() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/fail":
            raise ConnectionError("the view's own words")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]

    synapse = MemorySynapse()
    await synapse.connect()
    worker = Dendrite(synapse=synapse, namespace="test", role="worker")
    worker.attach_axon(Axon(neuron_id="shop", neuron_fn=Neuron("flask", app=app)))
    caller = Dendrite(synapse=synapse, namespace="test")

    async def ask(input: dict[str, Any]) -> dict[str, Any]:
        reply = await caller.dispatch_and_wait(neuron="shop", input=input, timeout_s=10)
        return reply.payload

    async with worker, caller:
        assert (await ask({}))["output"]["response"] == "served"
        failed = await ask({"path": "/fail"})
        assert (failed["code"], failed["recoverable"]) == ("APP_ERROR", False)
        assert "ConnectionError" in failed["message"]
        assert "own words" not in str(failed)
        assert (await ask({"path": 1}))["code"] == "INPUT_INVALID"
        assert (await ask({}))["output"]["status"] == 200
    await synapse.close()


def test_readme_lists_every_option_field_and_code() -> None:
    options = WsgiOptions.names() | AsgiOptions.names()
    codes = {value.code for value in vars(failures).values() if isinstance(value, Failure)} | {
        "INPUT_INVALID"
    }
    assert len(codes) == 7
    for name in (*options, *FIELDS, *codes):
        assert f"| `{name}` |" in README


def test_readme_snippets_run(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for snippet in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
            code = compile(snippet, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, namespace)  # noqa: S307 - snippets of the README
            if inspect.iscoroutine(result):
                runner.run(result)
    assert capsys.readouterr().out == "Hello! You said: Say hello.\n"
