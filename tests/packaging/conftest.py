"""The checkout and its plugins, and a way to run commands whose progress can be seen."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

Run = Callable[..., str]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes a ``plugin`` once for each plugin in the checkout."""
    if "plugin" in metafunc.fixturenames:
        folders = sorted(path.parent for path in (CHECKOUT / "plugins").glob("cosmo-*/pyproject.toml"))
        metafunc.parametrize("plugin", folders, ids=[folder.name for folder in folders])


@pytest.fixture
def checkout() -> Path:
    """The folder with the core's pyproject.toml."""
    return CHECKOUT


@pytest.fixture
def project(plugin: Path) -> dict[str, Any]:
    """The ``[project]`` table of a plugin."""
    table: dict[str, Any] = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder and return what it printed; it has five minutes to succeed."""

    def run(*command: str | Path, cwd: Path = tmp_path) -> str:
        with capsys.disabled():
            print(f"\n$ {' '.join(map(str, command))}", flush=True)  # noqa: T201 - it takes a while
        done = subprocess.run(  # noqa: S603 - the tests say what runs
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def new_python(tmp_path: Path, run: Run) -> Path:
    """The interpreter of a virtual environment that has pip and nothing else of note."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return tmp_path / "venv" / scripts / "python"
