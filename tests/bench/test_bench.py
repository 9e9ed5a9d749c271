"""The bench runs every family, with a minimal amount of work."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosmo_engram_postgres.testing import NEEDED, find_postgres
from tests.bench.measure import MissingError
from tests.bench.rivals import Rival
from tests.bench.run import warn_if_busy

# The fixture runs every family, which takes its time where other tests run at once.
pytestmark = pytest.mark.timeout(300)

RUN = Path(__file__).with_name("run.py")
TARGETS = {
    "sequential dispatch_and_wait": "≥ 0.55",
    "100 in flight": "≥ 0.50",
    "tails: sequential dispatch_and_wait, p50": "",
    "tails: sequential dispatch_and_wait, p99": "",
    "tails: sequential dispatch_and_wait, p99.9": "",
    "tails: 100 together, mean, p50": "",
    "tails: 100 together, mean, p99": "",
    "tails: 100 together, mean, p99.9": "",
    "streaming: deltas over memory": "≥ 0.21 (goal 0.30)",
    "streaming: deltas that arrive at a slow reader over NATS": "1",
    "a round trip with 1 middleware": "≤ 1.25",
    "a round trip with 10 middlewares": "",
    "build + encode + decode": "≥ 150,000/s",
    "import cosmo_core": "≤ 80 ms",
    "import cosmo_core, CPU time": "≤ 1.25",
    "open Pathway, no answer yet": "≤ 1.5 KB",
    "open Pathway, one answer buffered": "≤ 1.5 KB",
    "memory after 100 x dispatch_and_wait": "no growth",
    "memory after 100 x dispatch, wait, no close": "no growth",
    "slopes: dispatch by capability, 20 Neurons known": "≤ 1.2",
    "slopes: dispatch by capability, 100 Neurons known": "≤ 1.2",
    "slopes: a HEARTBEAT that changes a load, 100 Neurons known": "",
    "slopes: timer pass, 50 different deadlines": "< 0.1 ms",
    "slopes: back-pressured dispatch, 20 held open": "≤ 1.2",
    "slopes: idle CPU, 100 open Pathways": "< 1 %",
    "slopes: longest stall, 20 open TASKs": "< 3 ms",
    "slopes: start of one of 19 workers and an orchestrator": "≤ 2 ms",
    "slopes: a heartbeat of all of 19 workers and an orchestrator": "≤ 150 ms",
    "slopes: longest stall, heartbeat of 20 Axons": "< 2 ms",
    "a dispatch beside 3 orchestrators and 3 other namespaces": "≤ 1.10",
    "huggingface: 32 requests in flight": "≥ 0.8",
    "huggingface: time to the first delta": "≤ 1.3",
    "ollama: 32 requests in flight": "≥ 0.8",
    "ollama: time to the first delta": "≤ 1.3",
    "mcp: tool calls": "≥ 0.8",
    "context: nine Neurons, one prompt": "≤ 97 µs",
    "context: nine Neurons that each wait 50 ms": "≤ 70 ms",
    "context: 100,000 messages of history": "≈ 1",
    "context: bytes shared with the previous prompt, cache layout": "≥ 0.90",
    "zmq: sequential, 2 processes": "≥ 0.4",
    "zmq: sequential, hub in a third process": "",
    "zmq: 100 in flight, 2 processes": "≥ 0.35",
    "zmq: 100 in flight, hub in a third process": "",
    "zmq: sequential, 2 processes, hub against hub": "goal 0.7",
    "zmq: 100 in flight, 2 processes, hub against hub": "goal 0.6",
    "zmq: sequential, frames without Dendrites": "",
    "zmq: 100 in flight, frames without Dendrites": "",
    "zmq: deltas of one stream, 2 processes": "goal 0.40",
    "nats: sequential": "≥ 0.6 (goal 0.92)",
    "nats: 100 in flight": "≥ 0.5 (goal 0.85)",
    "nats: durable, 100 in flight": "≥ 0.6",
    "nats: durable, answers stored, sequential": "≥ 0.85",
    "nats: durable, answers stored, 100 in flight": "≥ 0.85",
    "sqlite: imprint, 32 in flight": "≥ 0.4",
    "sqlite: imprint, sequential": "",
    "sqlite: recall by key, 32 in flight": "≥ 0.4",
    "sqlite: recall by key, sequential": "",
    "sqlite: recall by id, 32 in flight": "≥ 0.4",
    "sqlite: recall by id, sequential": "",
    "sqlite: recall by key, 2,000 entries": "≥ 0.8",
    "sqlite: recall by a word of 10, 2,000 entries": "≥ 0.33",
    "postgres: imprint, 32 in flight": "≥ 0.5",
    "postgres: imprint, sequential": "",
    "postgres: recall by key, 32 in flight": "≥ 0.5",
    "postgres: recall by key, sequential": "",
    "postgres: recall by id, 32 in flight": "≥ 0.5",
    "postgres: recall by id, sequential": "",
    "postgres: recall by key, 2,000 entries": "≥ 0.8",
    "postgres: recall by a word of 10, 2,000 entries": "≥ 0.33",
}


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(RUN), "--scale", "0.001", *options]
    return subprocess.run(  # noqa: S603 - our own interpreter and script
        command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=280
    )


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    if find_postgres() is None and not os.environ.get("CI"):
        pytest.skip(NEEDED)
    return bench("--json")


@pytest.fixture(scope="module")
def figures(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_every_promised_figure_is_measured(name: str, figures: list[dict[str, Any]]) -> None:
    assert TARGETS[name] in {figure["target"] for figure in figures if figure["name"].startswith(name)}


def test_measured_values_are_finite_and_positive(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        assert math.isfinite(figure["value"]), figure
        # So few objects may fit into pages that are already resident.
        if not figure["name"].endswith("resident"):
            assert figure["value"] > 0, figure
            assert figure["baseline"] > 0, figure
            assert 0 < figure["ratio"] < 1000, figure


def test_stderr_reports_only_start_of_each_figure(
    run: subprocess.CompletedProcess[str], figures: list[dict[str, Any]]
) -> None:
    lines = run.stderr.splitlines()
    if "the load is" in lines[0]:
        del lines[0]
    assert [line.split(" s  ", 1)[1] for line in lines] == [figure["name"] for figure in figures]


@pytest.mark.parametrize(("load", "warns"), [(0.1, False), (1.7, True)])
def test_bench_warns_if_others_use_the_processor(
    load: float, warns: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    warn_if_busy()
    assert ("the load is 1.7" in capsys.readouterr().err) is warns


def test_rivals_are_measured_only_on_request(figures: list[dict[str, Any]]) -> None:
    assert not [figure for figure in figures if figure["name"].startswith("rivals")]


def test_rival_that_is_not_installed_is_skipped_with_the_way_to_install_it() -> None:
    rival = Rival("not-a-distribution", "autogen_echo", "echo")
    with pytest.raises(
        MissingError, match="not-a-distribution is not installed; `nox -s rivals` installs it"
    ):
        rival.echo()


def test_bench_prints_one_table_without_json() -> None:
    done = bench("--only", "codec")
    assert done.returncode == 0, done.stderr
    header, rule, *rows = done.stdout.splitlines()
    assert "measured" in header
    assert set(rule) == set("|- ")
    assert len(rows) == 4
    assert {row.count("|") for row in (header, rule, *rows)} == {7}
