"""Every printed `pip install` takes this project's distributions from a clone, and works as printed.

None of them is published. A package index has, or may get, a stranger's distribution under the same name.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from packaging.requirements import Requirement

from cosmo_core.plugins.advice import FIRST_PARTY, REQUIRED

if TYPE_CHECKING:
    from tests.packaging.conftest import MakeEnvironment, Run

# They make environments and build distributions; the commands have a time limit of their own.
pytestmark = pytest.mark.timeout(900)

CHECKOUT: Final = Path(__file__).parents[2]
PLUGINS: Final = {path.parent.name: path.parent for path in CHECKOUT.glob("plugins/*/pyproject.toml")}
COMMAND: Final = re.compile(r"(?:\bpip3? install|\buv add|\bpipx install|\buvx)((?: \\\n|[^\n`|;])*)")
NAME: Final = re.compile(r"(?:cosmo-|\$\{distribution\})")
FOLDERS: Final = ("cosmo_core", "docs", "plugins")
PAGES: Final = {".md", ".md-tpl"}


def sources() -> Iterator[Path]:
    """Yield the pages, templates and modules that may print a command."""
    yield from CHECKOUT.glob("*.md")
    for folder in FOLDERS:
        for path in sorted((CHECKOUT / folder).rglob("*")):
            inside = path.relative_to(CHECKOUT).parts
            if path.suffix in {".py", ".md", ".toml", ".py-tpl", ".md-tpl", ".toml-tpl"} and not (
                {"tests", "_build", ".venv"} & set(inside)
            ):
                yield path


def commands(path: Path) -> list[str]:
    """Return the arguments of each command that installs something, as they are printed."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        # A string that is continued on the next line.
        text = re.sub(r'"\s*\n\s*f?"', "", text)
    return [found.replace("\\\n", " ").strip() for found in COMMAND.findall(text)]


def words(command: str) -> list[str]:
    """Split a command into arguments; the quotes of a string that holds it do not count."""
    try:
        return shlex.split(command.rstrip(".,:'\")"))
    except ValueError:
        return command.replace('"', " ").replace("'", " ").split()


ALL: Final = [(path.relative_to(CHECKOUT), command) for path in sources() for command in commands(path)]
PRINTED: Final = sorted({" ".join(words(command)) for path, command in ALL if path.suffix == ".md"})
LOCAL: Final = [command for command in PRINTED if re.match(r"(?:-\S+ )*\.", command)]


def required(folder: str) -> set[str]:
    """Return the folders that a folder with its extras requires, by its metadata."""
    path, _, extras = folder.rstrip("]").partition("[")
    project = tomllib.loads((CHECKOUT / path / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    of_extras = [text for extra in extras.split(",") for text in optional.get(extra, ())]
    names = {Requirement(text).name for text in (*project["dependencies"], *of_extras)}
    return {"." if name == "cosmo-core" else f"./plugins/{name}" for name in names & {"cosmo-core", *PLUGINS}}


def missing(folders: Sequence[str]) -> set[str]:
    """Return the folders that others require, and that the command does not name."""
    named = {folder.partition("[")[0] for folder in folders}
    return {each for folder in folders for each in required(folder)} - named


def test_commands_are_found() -> None:
    assert len(LOCAL) > 15
    assert any("cosmo_core/plugins" in path.as_posix() for path, _ in ALL)
    assert any(path.name.endswith("-tpl") for path, _ in ALL)


@pytest.mark.parametrize(("path", "command"), ALL, ids=lambda value: str(value)[:60])
def test_command_names_no_distribution_of_this_project(path: Path, command: str) -> None:
    assert [word for word in words(command) if NAME.match(word)] == []


@pytest.mark.parametrize(("path", "command"), ALL, ids=lambda value: str(value)[:60])
def test_command_names_folders_that_exist_and_all_that_they_require(path: Path, command: str) -> None:
    folders = [word for word in words(command) if re.match(r"\.(?:/[a-z]|$)", word) and "{" not in word]
    if path.name.endswith("-tpl"):
        assert set(folders) <= {"."}  # the folder of the new distribution
        return
    # A module is a part of the core, or needs it: there it is installed.
    installed = {"."} if path.suffix == ".py" else set()
    assert missing(folders) - installed == set()


def test_table_of_requirements_in_the_core_is_that_of_the_metadata() -> None:
    assert {group for names in FIRST_PARTY.values() for group in names.values()} <= REQUIRED.keys()
    assert REQUIRED.keys() == PLUGINS.keys()
    for name, others in REQUIRED.items():
        folders = [".", *(f"./plugins/{each}" for each in (*others, name))]
        assert missing(folders) == set()
        for other in others:
            assert missing([folder for folder in folders if folder != f"./plugins/{other}"])


@pytest.mark.parametrize("command", LOCAL)
def test_printed_command_works_in_a_fresh_environment(
    command: str, environment: MakeEnvironment, tmp_path: Path
) -> None:
    clean = environment(tmp_path / "venv")
    clean.install_folders(*words(command), cwd=CHECKOUT)
    assert list(clean.site.glob("cosmo_core-0.1.0.dist-info"))
    assert list(clean.site.glob("cosmo_*-0.1.99.dist-info")) == []


def test_pip_runs_the_command_of_cosmo_compat(new_python: Path, run: Run, tmp_path: Path) -> None:
    (command,) = set(commands(PLUGINS["cosmo-compat"] / "README.md"))
    run(new_python, "-m", "pip", "install", *words(command), cwd=CHECKOUT)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    came_along = CHECKOUT / "tests" / "packaging" / "came_along.py"
    run(sys.executable, came_along, site, "cosmo-compat")
    run(new_python, "-I", "-c", "import cosmonapse, orbiter.context")
