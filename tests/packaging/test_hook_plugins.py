"""The example hook plugins: installed, ordered, failing, and removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import Axon, Dendrite, NeuronFn, Signal, SignalType
from cosmo_core.plugins import Direction, Dropped, Forward, NeuronWrapper, PluginManager, hookimpl
from cosmo_synapse_memory import MemorySynapse

# They build distributions.
pytestmark = pytest.mark.timeout(600)

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PROJECTS = sorted(EXAMPLES.glob("cosmo-hook-*"))

Start = Callable[..., Awaitable[Dendrite]]
Discover = Callable[..., PluginManager]


def execute(*command: str | Path, **environ: str) -> None:
    done = subprocess.run(  # noqa: S603 - the tests say what runs
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three plugins installed."""
    folder = tmp_path_factory.mktemp("hooks")
    copies = [shutil.copytree(project, folder / project.name) for project in PROJECTS]
    python = ("--python", sys.executable)
    execute(uv, "pip", "install", *python, "--no-deps", "--target", folder / "site", *copies)
    return folder / "site"


@pytest.fixture
def site(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder that is on `sys.path` for one test."""
    site = shutil.copytree(installed, tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    for name in ("COSMO_REDACT_KEYS", "COSMO_RETRY_ATTEMPTS"):
        monkeypatch.delenv(name, raising=False)
    yield site
    for name in [name for name in sys.modules if name.startswith("cosmo_hook_")]:
        del sys.modules[name]


@pytest.fixture
def discover(site: Path) -> Discover:
    """Return a manager of the plugins in that folder; takes environment variables."""

    def discover(**environ: str) -> PluginManager:
        return PluginManager.discover(path=[str(site)], environ=environ)

    return discover


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a Dendrite with plugins and Neurons; all Dendrites share a bus."""
    async with contextlib.AsyncExitStack() as stack:
        synapse = MemorySynapse()
        await synapse.connect()
        stack.push_async_callback(synapse.close)

        async def start(plugins: PluginManager, *neurons: Any) -> Dendrite:
            dendrite = Dendrite(synapse=synapse, plugins=plugins)
            for neuron in neurons:
                dendrite.attach_axon(Axon(neuron_id=neuron.__name__, neuron_fn=neuron))
            return await stack.enter_async_context(dendrite)

        yield start


async def echo(input: dict[str, Any], context: list[Any]) -> Any:
    return input


class Flaky:
    """Fails twice."""

    __name__ = "flaky"

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> Any:
        self.calls += 1
        if self.calls < 3:
            raise ConnectionError
        return {"calls": self.calls}


def statuses(manager: PluginManager) -> dict[str, str]:
    return {record.name: record.status for record in manager.report().records}


def uninstall(site: Path, name: str) -> None:
    """Remove a plugin, as `pip uninstall` does."""
    shutil.rmtree(site / f"cosmo_hook_{name}")
    (info,) = site.glob(f"cosmo_hook_{name}-*.dist-info")
    shutil.rmtree(info)


def module(name: str) -> Any:
    """Return a module that a manager has imported."""
    return sys.modules[f"cosmo_hook_{name}"]


# --- at work ----------------------------------------------------------------------------------------


async def test_three_plugins_work_at_once(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMO_REDACT_KEYS", "password, token")
    manager = discover()
    assert statuses(manager) == {"count": "available", "redact": "available", "retry": "available"}
    flaky = Flaky()
    await start(PluginManager(), echo)
    both = await start(manager, flaky)
    assert statuses(manager) == {"count": "loaded", "redact": "loaded", "retry": "loaded"}

    monkeypatch.setattr(module("retry"), "jittered", lambda _attempt: 0)
    reply = await both.dispatch_and_wait(neuron="flaky", input={})
    assert reply.payload["output"] == {"calls": 3}
    reply = await both.dispatch_and_wait(neuron="echo", input={"user": "me", "password": "x"})
    assert reply.payload["output"] == {"user": "me", "password": "[redacted]"}
    counted = module("count").counts(both)
    assert counted["sent", "TASK"] == 2
    assert counted["received", "AGENT_OUTPUT"] == 2


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_tests_of_a_plugin_pass_with_the_installed_plugin(project: Path, installed: Path) -> None:
    path = os.pathsep.join([str(installed), *sys.path])
    execute(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", project, PYTHONPATH=path)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_plugin_is_a_complete_distribution(project: Path, installed: Path) -> None:
    package = installed / project.name.replace("-", "_")
    assert (package / "py.typed").read_bytes() == b""
    assert (project / "LICENSE").read_bytes() == (EXAMPLES.parents[1] / "LICENSE").read_bytes()
    assert (project / "README.md").read_text("utf-8").startswith(f"# {project.name}\n")
    assert "\nCOSMO_API = 1\n" in (package / "__init__.py").read_text("utf-8")


# --- order ------------------------------------------------------------------------------------------


class Adds:
    """A middleware of the program that adds a value to redact."""

    @hookimpl
    def cosmo_signal_middleware(self, direction: Direction) -> Any:
        return self.add if direction == "outbound" else None

    async def add(self, signal: Signal, forward: Forward) -> Signal | Dropped:
        if signal.type is not SignalType.TASK:
            return await forward(signal)
        payload = {**signal.payload, "input": {**signal.payload["input"], "password": "x"}}
        return await forward(signal.replace(payload=payload))


@pytest.mark.parametrize(("order", "arrives"), [(0, "[redacted]"), (1000, "[redacted]"), (1001, "x")])
async def test_redaction_covers_middleware_with_a_lower_order(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch, order: int, arrives: str
) -> None:
    monkeypatch.setenv("COSMO_REDACT_KEYS", "password")
    manager = discover()
    manager.register(Adds(), name="adds", order=order)
    await start(PluginManager(), echo)
    orchestrator = await start(manager)
    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={})
    assert reply.payload["output"] == {"password": arrives}


@pytest.mark.parametrize(("order", "runs"), [(-1, 1), (1, 3)])
async def test_retry_covers_wrappers_with_a_higher_order(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch, order: int, runs: int
) -> None:
    begun: list[str] = []

    class Notes:
        @hookimpl
        def cosmo_neuron_wrappers(self) -> NeuronWrapper:
            return self.wrap

        def wrap(self, neuron: NeuronFn) -> NeuronFn:
            async def noted(input: dict[str, Any], context: list[Any]) -> Any:
                begun.append("run")
                return await neuron(input, context)

            return noted

    manager = discover()
    manager.register(Notes(), name="notes", order=order)
    orchestrator = await start(manager, Flaky())
    monkeypatch.setattr(module("retry"), "jittered", lambda _attempt: 0)
    reply = await orchestrator.dispatch_and_wait(neuron="flaky", input={})
    assert reply.payload["output"] == {"calls": 3}
    assert len(begun) == runs


# --- failure ----------------------------------------------------------------------------------------


def explode(*_: object) -> Any:
    raise RuntimeError("a bug")


def trip(value: object, _keys: frozenset[str]) -> None:
    """Fail on TASKs and their outputs, but not on the ERROR that follows."""
    if isinstance(value, dict) and value.keys() & {"input", "output"}:
        explode()


async def test_failing_redaction_sends_nothing(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMO_REDACT_KEYS", "password")
    heard: list[bool] = []

    async def listen(input: dict[str, Any], context: list[Any]) -> Any:
        heard.append(True)
        return {"password": "x"}

    manager = discover()
    orchestrator = await start(PluginManager(), listen)
    worker = await start(manager, echo)
    await worker.wait_until_ready(neuron="listen")
    monkeypatch.setattr(module("redact"), "_hide", trip)

    reply = await orchestrator.dispatch_and_wait(neuron="echo", input={}, timeout_s=5)
    assert reply.payload["code"] == "REJECTED"
    assert "middleware" in reply.payload["message"]
    with pytest.raises(RuntimeError, match="a bug"):
        await worker.dispatch_and_wait(neuron="listen", input={"password": "x"})
    assert heard == []


async def test_failing_observer_is_logged_once_and_the_reply_arrives(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(dict[Any, int]):
        __getitem__ = explode

    manager = discover()
    manager.load_hooks()
    monkeypatch.setattr(module("count"), "Counter", Broken)
    both = await start(manager, echo)
    for _ in range(2):
        reply = await both.dispatch_and_wait(neuron="echo", input={"a": 1})
        assert reply.payload["output"] == {"a": 1}
    assert caplog.text.count("an observer of count failed; further failures are not logged") == 1


async def test_invalid_setting_of_a_wrapper_is_raised_when_an_axon_is_added(
    discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMO_RETRY_ATTEMPTS", "often")
    manager = discover()
    running = await start(manager)
    with pytest.raises(ValueError, match="COSMO_RETRY_ATTEMPTS is 'often'") as caught:
        await running.add_axon(Axon(neuron_id="echo", neuron_fn=echo))
    assert caught.value.__notes__ == ["from plugin retry of cosmo-hook-retry 0.1.0"]
    assert running.axons == []
    monkeypatch.setenv("COSMO_RETRY_ATTEMPTS", "2")
    await running.add_axon(Axon(neuron_id="echo", neuron_fn=echo))
    assert (await running.dispatch_and_wait(neuron="echo", input={})).type is SignalType.AGENT_OUTPUT


async def test_other_plugins_work_when_one_cannot_be_imported(
    site: Path, discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMO_REDACT_KEYS", "a")
    with (site / "cosmo_hook_count" / "__init__.py").open("a") as file:
        file.write("1 / 0\n")
    manager = discover()
    both = await start(manager, echo)
    assert (await both.dispatch_and_wait(neuron="echo", input={"a": 1})).payload["output"] == {
        "a": "[redacted]"
    }
    assert statuses(manager) == {"count": "failed", "redact": "loaded", "retry": "loaded"}
    (problem,) = manager.report().problems
    assert "ZeroDivisionError" in str(problem.cause)


# --- removal ----------------------------------------------------------------------------------------


NAMES = ("count", "redact", "retry")
REMOVALS = {"uninstalled": None, "disabled": "{}", "disabled by distribution": "cosmo-hook-{}"}


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize("name", NAMES)
async def test_removed_plugin_does_nothing_and_the_report_omits_or_marks_it(
    site: Path, discover: Discover, start: Start, monkeypatch: pytest.MonkeyPatch, name: str, removal: str
) -> None:
    monkeypatch.setenv("COSMO_REDACT_KEYS", "a")
    switch = REMOVALS[removal]
    if switch is None:
        uninstall(site, name)
        manager = discover()
    else:
        manager = discover(COSMO_DISABLE_PLUGINS=switch.format(name))
    flaky = Flaky()
    both = await start(manager, echo, flaky)
    if name != "retry":
        monkeypatch.setattr(module("retry"), "jittered", lambda _attempt: 0)
    echoed = await both.dispatch_and_wait(neuron="echo", input={"a": 1})
    retried = await both.dispatch_and_wait(neuron="flaky", input={})

    assert f"cosmo_hook_{name}" not in sys.modules
    assert (echoed.payload["output"]["a"] == "[redacted]") is (name != "redact")
    assert flaky.calls == (1 if name == "retry" else 3)
    assert retried.type is (SignalType.ERROR if name == "retry" else SignalType.AGENT_OUTPUT)
    if name != "count":
        assert module("count").counts(both)["sent", "TASK"] == 2
    left = {other: "loaded" for other in NAMES if other != name}
    assert statuses(manager) == (left if switch is None else left | {name: "disabled"})
