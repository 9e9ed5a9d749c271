"""A stranger begins a plugin with `cosmo new`, and what comes of it is one install away from everybody."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

# It makes environments and builds distributions; what it waits for has bounds of its own.
pytestmark = pytest.mark.timeout(900)

Execute = Callable[..., subprocess.CompletedProcess[str]]

OURS: Final = ("cosmo-core", "cosmo-core-cli", "cosmo-context", "cosmo-synapse-memory")
BESIDE: Final = {
    "source": ("cosmo-core[testing]",),
    "synapse": ("cosmo-core[testing]",),
    "engram": ("cosmo-core[testing]", "cosmo-synapse-memory"),
    "context": ("cosmo-core", "cosmo-context[testing]"),
    "hook": ("cosmo-core[testing]", "cosmo-synapse-memory"),
}
"""What of this project is installed beside each kind."""
KINDS: Final = tuple(BESIDE)
NOUNS: Final = {"source": "source", "synapse": "Synapse", "engram": "Engram", "context": "context Neuron"}
SHORT: Final = "x"
LONGEST: Final = "abcdefghij-klmnop-qrstuv-wxyz1"


@attrs.frozen
class Environment:
    """A virtual environment that uv makes, and installs wheels into."""

    uv: str
    folder: Path
    execute: Execute

    @property
    def scripts(self) -> Path:
        """Where its programs are."""
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    def make(self) -> None:
        """Make it, with nothing in it."""
        self.execute(self.uv, "venv", "--python", sys.executable, self.folder, cwd=self.folder.parent)

    def install(self, *requirements: str) -> None:
        """Install wheels, and what they require of others."""
        self._pip("install", "--only-binary", ":all:", *requirements)

    def uninstall(self, distribution: str) -> None:
        """Remove a distribution."""
        self._pip("uninstall", distribution)

    def run(self, *arguments: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run its Python, isolated from everything else, every warning an error."""
        return self.execute(self.scripts / "python", "-I", "-W", "error", *arguments, cwd=cwd, status=status)

    def _pip(self, command: str, *arguments: str) -> None:
        self.execute(self.uv, "pip", command, "--python", self.folder, *arguments, cwd=self.folder)


MakeEnvironment = Callable[[Path], Environment]
New = Callable[..., Path]


@pytest.fixture(scope="module")
def environment(uv: str, execute: Execute) -> MakeEnvironment:
    """Make an environment in a folder that does not exist yet."""

    def make(folder: Path) -> Environment:
        made = Environment(uv, folder, execute)
        made.make()
        return made

    return make


@pytest.fixture(scope="module")
def wheels(
    uv: str, execute: Execute, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """Requirements on the wheels of this project, by their names."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in OURS:
        project = checkout if name == "cosmo-core" else checkout / "plugins" / name
        execute(uv, "build", "--wheel", "--out-dir", folder, project, cwd=folder)
    return {path.name.split("-")[0].replace("_", "-"): path.as_uri() for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def new(
    environment: MakeEnvironment, wheels: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> New:
    """Run `cosmo new`, as it is installed from the wheels, and return the folder it made."""
    cli = environment(tmp_path_factory.mktemp("cli") / "venv")
    cli.install(*(f"{name} @ {wheels[name]}" for name in ("cosmo-core", "cosmo-core-cli")))

    def run(kind: str, name: str, folder: Path) -> Path:
        cli.execute(cli.scripts / "cosmo", "new", kind, name, cwd=folder)
        return folder / f"cosmo-{kind}-{name}"

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_made_built_installed_tested_used_by_name_and_missed(
    kind: str, new: New, environment: MakeEnvironment, wheels: Mapping[str, str], tmp_path: Path
) -> None:
    project = new(kind, "acme", tmp_path)
    clean = environment(tmp_path / "venv")
    clean.execute(clean.uv, "build", "--wheel", "--out-dir", tmp_path, project, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    clean.install(*(f"{name} @ {wheels[name.partition('[')[0]]}" for name in BESIDE[kind]), str(wheel))

    tested = clean.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"^=+ \d+ passed(, \d+ skipped)? in .* =+$", tested.stdout, re.MULTILINE)

    program, printed = (_block(project / "README.md", language) for language in ("python", "text"))
    assert f"import {wheel.name.split('-')[0]}" not in program.replace("from ", "import ")
    with _chat_server(clean) as url:
        program = program.replace("http://localhost:8080", url)
        assert clean.run("-c", program, cwd=tmp_path).stdout == printed

    clean.uninstall(project.name)
    if kind == "hook":  # nobody asks for one by its name, so nothing fails without it
        assert clean.run("-c", program, cwd=tmp_path).stdout == "HELLO from somewhere\n"
    else:
        complaint = clean.run("-c", program, cwd=tmp_path, status=1).stderr
        assert f"no {NOUNS[kind]} named 'acme' is installed" in complaint
        assert f"pip install {project.name} " in complaint


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_passes_strict_checks_whatever_its_name(
    kind: str, new: New, execute: Execute, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    projects = [new(kind, name, tmp_path) for name in (SHORT, LONGEST)]
    for project in projects:
        execute(sys.executable, "-m", "ruff", "check", "--no-cache", cwd=project)
        execute(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "--diff", cwd=project)
    # What all kinds import is checked once.
    cache = tmp_path_factory.getbasetemp() / "mypy"
    execute(sys.executable, "-m", "mypy", "--cache-dir", cache, "src", "tests", cwd=projects[0])


def _block(page: Path, language: str) -> str:
    """Give the one fenced block of a language on a page."""
    text = page.read_text("utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


@contextmanager
def _chat_server(clean: Environment) -> Iterator[str]:
    """Run the server that the example of a source talks to, as its README says."""
    command: list[str | Path] = [
        clean.scripts / "python",
        "-I",
        "-m",
        "cosmo_testing.chat_server",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
