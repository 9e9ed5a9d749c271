"""Fixtures for the packaging tests: the checkout, its plugins, its wheels, and fresh environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

CHECKOUT: Final = Path(__file__).parents[2]

Run = Callable[..., str]
Execute = Callable[..., subprocess.CompletedProcess[str]]
MakeEnvironment = Callable[[Path], "Environment"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the argument ``plugin`` once for each plugin in the checkout."""
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
def execute(request: pytest.FixtureRequest, lookalikes: Path) -> Execute:
    """Run a command outside the environment of the tests; it has five minutes to succeed.

    pip and uv find distributions of strangers under this project's names.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environ["PIP_FIND_LINKS"] = f"{environ.get('PIP_FIND_LINKS', '')} {lookalikes}"
    environ["UV_FIND_LINKS"] = str(lookalikes)

    def execute(
        *command: str | Path, cwd: Path, status: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with capture.global_and_fixture_disabled():
            print(f"\n$ {' '.join(map(str, command))}", flush=True)  # noqa: T201 - it takes a while
        done = subprocess.run(  # noqa: S603 - the tests choose the commands
            command,
            cwd=cwd,
            env={**environ, **(env or {})},
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
    """Run a command in an empty folder and return what it printed."""

    def run(*command: str | Path, cwd: Path = tmp_path) -> str:
        return execute(*command, cwd=cwd).stdout

    return run


@pytest.fixture
def new_python(tmp_path: Path, run: Run) -> Path:
    """The interpreter of a new virtual environment that has pip and no other distribution of note."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return tmp_path / "venv" / scripts / "python"


@pytest.fixture(scope="session")
def uv() -> str:
    """The program uv, which makes environments fast. Without it, tests fail in CI and skip elsewhere."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        reason = "there is no uv: pip install uv"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@attrs.frozen
class Environment:
    """A virtual environment that uv makes, and into which it installs."""

    uv: str
    folder: Path
    execute: Execute

    @property
    def scripts(self) -> Path:
        """The folder of its programs."""
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    @property
    def site(self) -> Path:
        """The folder of its distributions."""
        (site,) = self.folder.glob("lib/python*/site-packages")
        return site

    def make(self) -> None:
        """Make it; it has no distribution, not even pip."""
        command = ("venv", "--quiet", "--python", sys.executable, self.folder)
        self.execute(self.uv, *command, cwd=self.folder.parent)

    def install(self, *arguments: str, cwd: Path | None = None) -> None:
        """Install as `pip install` does."""
        self._pip("install", *arguments, cwd=cwd)

    def uninstall(self, distribution: str) -> None:
        """Remove a distribution."""
        self._pip("uninstall", distribution)

    def run(self, *arguments: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run its Python, isolated from the checkout, with warnings as errors."""
        return self.execute(self.scripts / "python", "-I", "-W", "error", *arguments, cwd=cwd, status=status)

    def _pip(self, command: str, *arguments: str, cwd: Path | None = None) -> None:
        self.execute(
            self.uv, "pip", command, "--quiet", "--python", self.folder, *arguments, cwd=cwd or self.folder
        )


@pytest.fixture(scope="session")
def environment(uv: str, execute: Execute) -> MakeEnvironment:
    """Make a virtual environment in a folder that does not exist yet."""

    def make(folder: Path) -> Environment:
        made = Environment(uv, folder, execute)
        made.make()
        return made

    return make


@pytest.fixture(scope="session")
def dist(uv: str, execute: Execute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `nox -s build` makes: the wheels of all distributions and their requirement files."""
    if "COSMO_DIST" in os.environ:
        return Path(os.environ["COSMO_DIST"])
    folder = tmp_path_factory.mktemp("dist")
    for project in (CHECKOUT, *sorted(path.parent for path in CHECKOUT.glob("plugins/*/pyproject.toml"))):
        execute(uv, "build", "--quiet", "--wheel", "--out-dir", folder, project, cwd=folder)
    execute(sys.executable, CHECKOUT / "tests" / "packaging" / "list_wheels.py", folder, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def lookalikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels as a stranger could publish them: this project's names, and a newer version."""
    folder = tmp_path_factory.mktemp("lookalikes")
    for name in ("cosmo-core", *(path.parent.name for path in CHECKOUT.glob("plugins/*/pyproject.toml"))):
        stem = f"{name.replace('-', '_')}-0.1.99"
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.99\nProvides-Extra: testing\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{stem}.dist-info/{file},,\n" for file in (*files, "RECORD"))
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
            for file, text in (files | {"RECORD": record}).items():
                archive.writestr(f"{stem}.dist-info/{file}", text)
    return folder
