"""Fixtures for the packaging tests: the checkout, its plugins, its wheels, and fresh environments."""

from __future__ import annotations

import os
import re
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

from tests.packaging.bytecode import share_bytecode

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

    pip and uv find distributions of strangers under this project's names. pip compiles no modules: Python
    compiles those that are imported.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environ["PIP_FIND_LINKS"] = f"{environ.get('PIP_FIND_LINKS', '')} {lookalikes}"
    environ["UV_FIND_LINKS"] = str(lookalikes)
    environ["PIP_NO_COMPILE"] = "1"

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


@pytest.fixture(scope="session")
def with_pip(execute: Execute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as `python -m venv` makes it."""
    folder = tmp_path_factory.mktemp("with-pip")
    execute(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    return folder / "venv"


@pytest.fixture
def new_python(tmp_path: Path, with_pip: Path) -> Path:
    """The interpreter of a new virtual environment that has pip and no other distribution of note.

    It is a copy, which takes a tenth of the time. `python -m pip` works in a copy.
    """
    shutil.copytree(with_pip, tmp_path / "venv", symlinks=True)
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
    built: set[Path]
    """The `pyproject.toml` of each folder that uv has built since the tests began."""

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
        share_bytecode(Path(sys.prefix), self.folder)

    def install_folders(self, *arguments: str, cwd: Path) -> None:
        """Install as `pip install` does; folders are built once for all tests.

        uv builds a folder on the command line each time. It builds one in a requirement file once, and again
        when its metadata changes. So the arguments go into a file, where paths are relative to the current
        folder too; what is in a folder may have changed since the last run, so the first test builds it.
        """
        lines = re.sub(r"(--editable|-e)\n", r"\1 ", "\n".join(arguments))
        file = self.folder / "requirements.txt"
        file.write_text(lines, "utf-8")
        found = {(cwd / argument.partition("[")[0]).resolve() / "pyproject.toml" for argument in arguments}
        new = {path for path in found if path.exists()} - self.built
        names = [tomllib.loads(path.read_text("utf-8"))["project"]["name"] for path in sorted(new)]
        self.install(*(f"--refresh-package={name}" for name in names), "-r", str(file), cwd=cwd)
        self.built.update(new)

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
    built: set[Path] = set()

    def make(folder: Path) -> Environment:
        made = Environment(uv, folder, execute, built)
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
