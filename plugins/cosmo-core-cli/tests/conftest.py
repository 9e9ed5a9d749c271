"""Fixtures that run `cosmo` in this process, and install fake distributions with plugins."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cosmo_core import Signal, SignalType, encode
from cosmo_core.plugins import default_manager
from cosmo_core_cli.app import cosmo

Invoke = Callable[..., Result]
Install = Callable[..., None]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COSMO_SYNAPSE", "COSMO_NAMESPACE", "COSMO_SYNAPSE_OPTIONS", "COSMO_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def invoke() -> Invoke:
    """Run a command line in this process."""

    def run(
        *arguments: str, input: str | bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        return CliRunner().invoke(cosmo, arguments, prog_name="cosmo", input=input, env=env)

    return run


@pytest.fixture
def refused(invoke: Invoke) -> Callable[..., str]:
    """Run a command line that is a user error, and return the one line on stderr."""

    def run(*arguments: str, **options: Any) -> str:
        result = invoke(*arguments, **options)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("cosmo: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions in the layout of pip, in a folder that is first on `sys.path`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    default_manager.cache_clear()

    def put(distribution: str, *, points: str, **modules: str) -> None:
        info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(points, "utf-8")
        for name, text in modules.items():
            (site / f"{name}.py").write_text(text, "utf-8")
        importlib.invalidate_caches()

    yield put
    default_manager.cache_clear()
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(site):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of a command. Its modules are removed from `sys.modules` afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield folder
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]


@pytest.fixture
def task() -> Signal:
    return Signal.new(SignalType.TASK, {"input": {"prompt": "hello"}})


@pytest.fixture
def wire(task: Signal) -> dict[str, Any]:
    """A Signal in its wire format, for tests that modify it."""
    document: dict[str, Any] = json.loads(encode(task))
    return document
