"""Fixtures: a tiny model, `transformers serve` for it, Neurons that use the server, and other providers.

Where transformers is not installed, these tests are skipped. `nox -s live` installs it, and sets
COSMO_REQUIRE_LIVE, with which they fail instead.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import IO, Any

import httpx
import pytest

from cosmo_core import Axon, Dendrite, Neuron
from cosmo_synapse_memory import MemorySynapse

MODEL = "meta-llama/Llama-3.1-8B-Instruct"  # only the name is that of the known model
NEEDED = ("fastapi", "ollama", "openai", "torch", "transformers", "uvicorn")
LISTENING = re.compile(r"(?:running|listening) on (http://127\.0\.0\.1:\d+)")
PROVIDERS = os.environ.get("COSMO_LIVE_PROVIDERS")
"""The environment with LiteLLM's proxy and the mock providers."""
START_S = 120
STOP_S = 10

Say = Callable[[str], None]
Running = Callable[..., AbstractContextManager[str]]


def pytest_pycollect_makemodule() -> None:
    """Skip these tests where a requirement is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}; `nox -s live` installs what these tests need"
    if os.environ.get("COSMO_REQUIRE_LIVE"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Say:
    """Print progress to the terminal, although pytest captures the output of tests."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end=" ", flush=True)  # noqa: T201 - it takes a while

    return say


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Iterator[str]:
    """The URL of a server with one model, which cannot download another."""
    folder = tmp_path_factory.mktemp("live")
    # One thread: with a model of this size, several threads only wait for each other.
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **settings}
    say("making a tiny model")
    maker = Path(__file__).with_name("tiny_model.py")
    subprocess.run([sys.executable, maker, folder / MODEL], env=env, check=True, timeout=START_S)  # noqa: S603
    say("starting transformers serve")
    with _serving(folder, env, say) as url:
        yield url


@contextmanager
def _serving(folder: Path, env: dict[str, str], say: Say) -> Iterator[str]:
    """Serve the model in ``folder`` on a free port; the path of the model is its name."""
    script = shutil.which("transformers", path=sysconfig.get_path("scripts"))
    assert script, "transformers is installed without its command"
    command = [script, "serve", MODEL, "--host", "127.0.0.1", "--port", "0", "--device", "cpu"]
    with _running(command, folder, env, say) as url:
        httpx.get(f"{url}/health", trust_env=False, timeout=STOP_S).raise_for_status()
        yield url


@contextmanager
def _running(command: Sequence[str], folder: Path, env: dict[str, str], say: Say) -> Iterator[str]:
    """Run a server until the end, and yield its URL, which it prints."""
    with subprocess.Popen(  # noqa: S603 - one of the commands in this file
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as server:
        assert server.stdout is not None
        output = ServerOutput(server.stdout, Path(command[0]).name)
        try:
            yield output.url(say)
        finally:
            _end(server)
            output.reader.join(STOP_S)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Running:
    """Run a command of the environment of the providers, in a folder with these files, and yield its URL."""

    @contextmanager
    def running(command: Sequence[str], files: Mapping[str, str], **settings: str) -> Iterator[str]:
        folder = tmp_path_factory.mktemp("provider")
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        path = _provider(command[0])
        say(f"starting {command[0]}")
        with _running([path, *command[1:]], folder, {**os.environ, **settings}, say) as url:
            yield url

    return running


def _provider(path: str) -> str:
    """The path of a command in the environment of the providers; without it, the test is skipped."""
    command = Path(PROVIDERS or "", path)
    if PROVIDERS and command.exists():
        return str(command)
    reason = f"{path} is not installed; `nox -s live` installs it"
    # npm is not part of Python: where it is missing, the tests with its mock are skipped.
    is_required = shutil.which("npm") if path.startswith("node_modules") else True
    if os.environ.get("COSMO_REQUIRE_LIVE") and is_required:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _end(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()


class ServerOutput:
    """Reads the output of a server, which would stall on a full pipe, and finds its URL in it."""

    def __init__(self, pipe: IO[str], name: str) -> None:
        self._pipe = pipe
        self._name = name
        self._last = deque[str](maxlen=50)
        self._url: Future[str | None] = Future()
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def url(self, say: Say) -> str:
        """The URL of the server, as soon as it listens."""
        for waited_s in range(0, START_S, 5):
            if wait([self._url], timeout=5).done:
                break
            say(f"... {waited_s + 5} s")
        url = self._url.result() if self._url.done() else None
        if url is None:
            pytest.fail(f"{self._name} does not listen; its last output:\n{''.join(self._last)}")
        return url

    def _read(self) -> None:
        for line in self._pipe:
            self._last.append(line)
            found = LISTENING.search(line)
            if found and not self._url.done():
                self._url.set_result(found[1])
        if not self._url.done():
            self._url.set_result(None)


@pytest.fixture
async def chat(endpoint: str) -> AsyncIterator[Callable[..., Awaitable[Dendrite]]]:
    """Host a Neuron named ``chat`` with the given options, and return a Dendrite that can call it."""
    async with AsyncExitStack() as stack:

        async def chat(**options: Any) -> Dendrite:
            synapse = MemorySynapse()
            await synapse.connect()
            stack.push_async_callback(synapse.close)
            neuron = Neuron(source="huggingface", **{"endpoint": endpoint, "model": MODEL, **options})
            worker = Dendrite(synapse=synapse, role="worker")
            worker.attach_axon(Axon(neuron_id="chat", neuron_fn=neuron, capabilities=["chat"]))
            await stack.enter_async_context(worker)
            return await stack.enter_async_context(Dendrite(synapse=synapse))

        yield chat
