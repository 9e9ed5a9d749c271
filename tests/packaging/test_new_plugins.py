"""What `cosmo new` makes installs as printed and passes its tests; a plugin is found by its name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import pytest

from tests.packaging.came_along import from_index

if TYPE_CHECKING:
    from tests.packaging.conftest import Environment, Execute, MakeEnvironment

# They make environments and build distributions; the commands have a time limit of their own.
pytestmark = pytest.mark.timeout(900)

BESIDE: Final = {
    "source": ("cosmo-core[testing]",),
    "synapse": ("cosmo-core[testing]",),
    "engram": ("cosmo-core[testing]", "cosmo-synapse-memory"),
    "context": ("cosmo-core", "cosmo-context[testing]"),
    "hook": ("cosmo-core[testing]", "cosmo-synapse-memory"),
    "extension": ("cosmo-testing", "cosmo-synapse-memory"),
}
"""What each kind needs of this project: requirements that the wheels in dist/ meet."""
CHECKOUT: Final = Path(__file__).parents[2]
KINDS: Final = tuple(BESIDE)
REMEDY: Final = "named 'acme' is installed; install the distribution that provides it;"
COMPLAINTS: Final = {
    "source": f"no source {REMEDY}",
    "synapse": f"no Synapse {REMEDY}",
    "engram": f"no Engram {REMEDY}",
    "context": f"no context Neuron {REMEDY}",
    "extension": "this Dendrite has no extension 'acme'; it has: ",
}
"""The error of the example without the plugin."""
SHORT: Final = "x"
LONGEST: Final = "abcdefghij-klmnop-qrstuv-wxyz1"


New = Callable[..., "Made"]


@attrs.frozen
class Made:
    """A distribution that `cosmo new` has made: its folder, and the commands that were printed."""

    folder: Path
    commands: list[list[str]]


@pytest.fixture(scope="module")
def new(environment: MakeEnvironment, tmp_path_factory: pytest.TempPathFactory) -> New:
    """Run `cosmo new` as the README of cosmo-core-cli installs it."""
    cli = environment(tmp_path_factory.mktemp("cli") / "venv")
    cli.install(".", "./plugins/cosmo-core-cli", cwd=CHECKOUT)

    def run(kind: str, name: str, folder: Path) -> Made:
        printed = cli.execute(cli.scripts / "cosmo", "new", kind, name, cwd=folder).stdout
        commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("  ")]
        return Made(folder / (name if kind == "app" else f"cosmo-{kind}-{name}"), commands)

    return run


@pytest.mark.parametrize("kind", ["app", *KINDS])
def test_printed_commands_install_a_new_plugin_and_find_its_tests(
    kind: str, new: New, environment: MakeEnvironment, tmp_path: Path
) -> None:
    made = new(kind, "acme", tmp_path)
    clean = environment(tmp_path / "venv")
    change, install, test, *run = made.commands
    assert change == ["cd", made.folder.name]
    assert install[:4] == ["python", "-m", "pip", "install"]
    clean.install_folders(*install[4:], cwd=made.folder)
    assert list(from_index(str(clean.site))) == []
    assert test == ["python", "-m", "pytest"]
    clean.run("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=made.folder)
    for _, *arguments in run:
        assert clean.run(*arguments, cwd=made.folder).stdout


def test_wheel_of_a_new_application_is_tested_and_runs(
    new: New, environment: MakeEnvironment, dist: Path, tmp_path: Path
) -> None:
    project = new("app", "acme", tmp_path).folder
    clean = environment(tmp_path / "venv")
    clean.execute(clean.uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, project, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    beside = ("cosmo-core[testing]", "cosmo-synapse-memory", str(wheel))
    clean.install("--only-binary", ":all:", "--constraint", str(dist / "all.txt"), *beside)
    tested = clean.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"^=+ \d+ passed in .* =+$", tested.stdout, re.MULTILINE)
    program, printed = (_block(project / "README.md", language) for language in ("python", "text"))
    assert clean.run("-c", program, cwd=tmp_path).stdout == printed
    assert clean.run("-m", "acme", cwd=tmp_path).stdout == printed


@pytest.mark.parametrize("kind", KINDS)
def test_wheel_of_a_new_plugin_is_tested_used_by_name_and_uninstalled(
    kind: str, new: New, environment: MakeEnvironment, dist: Path, tmp_path: Path
) -> None:
    project = new(kind, "acme", tmp_path).folder
    clean = environment(tmp_path / "venv")
    clean.execute(clean.uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, project, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    clean.install("--only-binary", ":all:", "--constraint", str(dist / "all.txt"), *BESIDE[kind], str(wheel))
    assert list(from_index(str(clean.site))) == []

    tested = clean.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"^=+ \d+ passed(, \d+ skipped)? in .* =+$", tested.stdout, re.MULTILINE)

    program, printed = (_block(project / "README.md", language) for language in ("python", "text"))
    assert f"import {wheel.name.split('-')[0]}" not in program.replace("from ", "import ")
    with _chat_server(clean) as url:
        program = program.replace("http://localhost:8080", url)
        assert clean.run("-c", program, cwd=tmp_path).stdout == printed

    clean.uninstall(project.name)
    if kind == "hook":  # no program names a hook, so nothing fails without it
        assert clean.run("-c", program, cwd=tmp_path).stdout == "HELLO from somewhere\n"
    else:
        complaint = clean.run("-c", program, cwd=tmp_path, status=1).stderr
        assert COMPLAINTS[kind] in complaint


@pytest.mark.parametrize("kind", ["app", *KINDS])
def test_new_plugin_passes_strict_checks_with_any_name(
    kind: str, new: New, execute: Execute, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    projects = [new(kind, name, tmp_path).folder for name in (SHORT, LONGEST)]
    for project in projects:
        execute(sys.executable, "-m", "ruff", "check", "--no-cache", cwd=project)
        execute(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "--diff", cwd=project)
    # The cache has what all kinds import.
    cache = tmp_path_factory.getbasetemp() / "mypy"
    execute(sys.executable, "-m", "mypy", "--cache-dir", cache, "src", "tests", cwd=projects[0])


def _block(page: Path, language: str) -> str:
    """Return the only fenced block of a language on a page."""
    text = page.read_text("utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


@contextmanager
def _chat_server(clean: Environment) -> Iterator[str]:
    """Run the server of the example of a source, as its README does; yield its URL."""
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
