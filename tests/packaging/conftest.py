"""The checkout and its plugins, and a way to run commands whose progress can be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

Run = Callable[..., str]
Execute = Callable[..., subprocess.CompletedProcess[str]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a ``plugin`` once for each plugin in the checkout."""
    if "plugin" in metafunc.fixturenames:
        folders = sorted(path.parent for path in (CHECKOUT / "plugins").glob("cosmo-*/pyproject.toml"))
        metafunc.parametrize("plugin", folders, ids=[folder.name for folder in folders])


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder with the core's pyproject.toml."""
    return CHECKOUT


@pytest.fixture
def project(plugin: Path) -> dict[str, Any]:
    """The ``[project]`` table of a plugin."""
    table: dict[str, Any] = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.fixture(scope="session")
def execute(request: pytest.FixtureRequest) -> Execute:
    """Run a command in a folder, outside of the checkout's environment; it has five minutes to succeed."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def execute(*command: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        with capture.global_and_fixture_disabled():
            print(f"\n$ {' '.join(map(str, command))}", flush=True)  # noqa: T201 - it takes a while
        done = subprocess.run(  # noqa: S603 - the tests say what runs
            command,
            cwd=cwd,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return execute


@pytest.fixture
def run(tmp_path: Path, execute: Execute) -> Run:
    """Run a command in an empty folder and return what it printed; it has five minutes to succeed."""

    def run(*command: str | Path, cwd: Path = tmp_path) -> str:
        return execute(*command, cwd=cwd).stdout

    return run


@pytest.fixture
def new_python(tmp_path: Path, run: Run) -> Path:
    """The interpreter of a virtual environment that has pip and nothing else of note."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return tmp_path / "venv" / scripts / "python"


@pytest.fixture(scope="session")
def uv() -> str:
    """The program uv, which makes environments in a moment; without it, fail in CI and skip elsewhere."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        reason = "there is no uv: pip install uv"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
