"""`cosmo new`: the files that it creates, its output, and its errors."""

from __future__ import annotations

import asyncio
import importlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cosmo_core.plugins.entry_points import GROUPS
from cosmo_core_cli.app import cosmo
from cosmo_core_cli.new.kinds import KINDS
from cosmo_core_cli.new.names import MAX_NAME

New = Callable[..., Result]

TESTS = {"hook": "tests/test_hooks.py", "extension": "tests/test_extension.py"}
"""The tests of the kinds that have no conformance tests."""

LONGEST = "abcdefghij-klmnop-qrstuv-wxyz1"


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> New:
    """Run `cosmo new` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cosmo, ["new", *arguments])

    return run


def files(folder: Path) -> dict[str, str]:
    """Read every file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in found}


def project(folder: Path) -> dict[str, Any]:
    """Read the `[project]` table."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.mark.parametrize("name", ["x", "my-model", LONGEST])
@pytest.mark.parametrize("kind", KINDS)
def test_distribution_has_all_files(new: New, tmp_path: Path, kind: str, name: str) -> None:
    assert new(kind, name).exit_code == 0
    folder = tmp_path / f"cosmo-{kind}-{name}"
    package = folder.name.replace("-", "_")
    made = files(folder)
    tests = TESTS.get(kind, "tests/test_conformance.py")
    assert {"pyproject.toml", "README.md", ".gitignore", f"src/{package}/__init__.py", tests} <= made.keys()
    assert made[f"src/{package}/py.typed"] == ""
    assert made["README.md"].startswith(f"# {folder.name}\n")
    assert "\nCOSMO_API = 1\n" in made[f"src/{package}/__init__.py"]


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_has_the_names_and_the_entry_point(new: New, tmp_path: Path, kind: str) -> None:
    new(kind, "my-model")
    table = project(tmp_path / f"cosmo-{kind}-my-model")
    assert table["name"] == f"cosmo-{kind}-my-model"
    assert "cosmo-plugin" in table["keywords"]
    required = "cosmo-context" if kind == "context" else "cosmo-core"
    assert f"{required}>=0.1,<0.2" in table["dependencies"]
    (group,) = table["entry-points"]
    assert group == KINDS[kind].group
    module, _, attribute = table["entry-points"][group]["my-model"].partition(":")
    assert module == f"cosmo_{kind}_my_model"
    assert bool(attribute) is (kind != "hook")


@pytest.mark.parametrize("kind", KINDS)
def test_templates_are_rendered_completely(new: New, tmp_path: Path, kind: str) -> None:
    new(kind, "my-model")
    for path, text in files(tmp_path / f"cosmo-{kind}-my-model").items():
        assert "$" not in re.sub(r"\n\$ |\$\{variable\}", "", text), path
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_every_group_of_plugins_but_commands_has_a_kind() -> None:
    assert {kind.group for kind in KINDS.values()} == {*GROUPS} - {"cosmo.commands"}


# --- the application ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "my-app", LONGEST])
def test_application_has_all_files(new: New, tmp_path: Path, name: str) -> None:
    assert new("app", name).exit_code == 0
    package = name.replace("-", "_")
    made = files(tmp_path / name)
    sources = {f"src/{package}/{file}.py" for file in ("__init__", "__main__", "orchestrator", "workers")}
    assert made.keys() == {
        "pyproject.toml",
        "README.md",
        ".gitignore",
        "tests/test_app.py",
        f"src/{package}/py.typed",
        *sources,
    }
    assert made["README.md"].startswith(f"# {name}\n")
    for path, text in made.items():
        assert "$" not in re.sub(r"^[a-z]*\$ ", "", text, flags=re.MULTILINE), path
        if path.endswith(".py"):
            compile(text, path, "exec")
    table = project(tmp_path / name)
    assert table["name"] == name
    assert "entry-points" not in table
    assert "cosmo-core>=0.1,<0.2" in table["dependencies"]


def test_application_answers_on_a_bus_within_the_process(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new("app", "new-app-of-a-test")
    monkeypatch.syspath_prepend(tmp_path / "new-app-of-a-test" / "src")
    program = importlib.import_module("new_app_of_a_test.__main__")
    asyncio.run(program.main(["tea", "milk"]))
    assert capsys.readouterr().out == "1. Tea: one thing to know.\n2. Milk: one thing to know.\n"


def test_printed_commands_of_an_application_are_those_of_its_readme(new: New, tmp_path: Path) -> None:
    printed = new("app", "acme").output
    where, *commands = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    readme = (tmp_path / "acme" / "README.md").read_text("utf-8")
    clone = str(Path(__file__).parents[4])
    assert where == "cd acme"
    assert "".join(f"$ {command}\n" for command in commands).replace(clone, "../cosmo") in readme


@pytest.mark.parametrize("name", ["json", "click", "cosmo-core", "class", "async", "tests"])
def test_application_cannot_have_the_name_of_a_module_or_a_keyword(
    new: New, tmp_path: Path, name: str
) -> None:
    result = new("app", name)
    assert result.exit_code == 2
    assert "choose another name" in result.stderr
    assert files(tmp_path) == {}


# --- output -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_printed_commands_are_those_of_the_readme(new: New, tmp_path: Path, kind: str) -> None:
    printed = new(kind, "acme", "--directory", "a folder").output
    where, *commands = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    assert where == f"cd 'a folder/cosmo-{kind}-acme'"
    assert len(commands) == 2
    readme = (tmp_path / "a folder" / f"cosmo-{kind}-acme" / "README.md").read_text("utf-8")
    clone = str(Path(__file__).parents[4])
    assert f" {clone}/plugins/cosmo-testing " in commands[0]
    assert "".join(f"$ {command}\n" for command in commands).replace(clone, "../cosmo") in readme


@pytest.mark.parametrize("kind", KINDS)
def test_requirements_of_the_tests_are_a_group_and_are_installed(new: New, tmp_path: Path, kind: str) -> None:
    printed = new(kind, "acme").output
    text = (tmp_path / f"cosmo-{kind}-acme" / "pyproject.toml").read_text("utf-8")
    for requirement in tomllib.loads(text)["dependency-groups"]["test"]:
        name, _, extra = requirement.partition(">=")[0].partition("[")
        assert f"/plugins/{name} " in printed
        assert extra in {"", "testing]"}
        assert not extra or "/plugins/cosmo-testing " in printed


# --- errors -------------------------------------------------------------------------------------------


BAD_NAMES = {
    "MyModel": "my-model",
    "my_model": "my-model",
    "my.model": "my-model",
    "my--model": "my-model",
    "-model": None,
    "model-": "model",
    "3d": "d",
    "a b": "a-b",
    "a/b": "a-b",
    "../up": "up",
    "naïve": "na-ve",
    "日本": None,
    "": None,
    "x" * (MAX_NAME + 1): "x" * MAX_NAME,
    "cosmo-source-acme": "acme",
}


@pytest.mark.parametrize(("name", "better"), BAD_NAMES.items())
def test_invalid_name_is_rejected_with_a_suggestion(
    new: New, tmp_path: Path, name: str, better: str | None
) -> None:
    result = new("source", "--", name)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n" if better is None else f"; such as {better}\n")
    assert files(tmp_path) == {}
    assert better is None or new("source", better).exit_code == 0


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("source", "hf", "cosmo-source-huggingface"),
        ("synapse", "zmq", "cosmo-synapse-zmq"),
        ("engram", "postgres", "cosmo-engram-postgres"),
    ],
)
def test_name_of_a_plugin_of_this_project_is_rejected(
    new: New, tmp_path: Path, kind: str, name: str, owner: str
) -> None:
    result = new(kind, name)
    assert result.exit_code == 2
    assert f"is the name of a plugin in {owner}:" in result.stderr
    assert files(tmp_path) == {}


class Manager:
    """A plugin manager with one plugin."""

    def __init__(self, group: str, name: str, owner: str) -> None:
        self._names = {group: {name: owner}}

    def names(self, group: str) -> dict[str, str]:
        return self._names.get(group, {})


def test_name_of_an_installed_plugin_is_rejected(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager("cosmo.hooks", "audit", "third-party-audit 1.0")
    monkeypatch.setattr("cosmo_core_cli.new.names.default_manager", lambda: manager)
    result = new("hook", "audit")
    assert result.exit_code == 2
    assert "'audit' is the name of a plugin in third-party-audit 1.0" in result.stderr
    assert new("source", "audit").exit_code == 0


def test_installed_distribution_of_the_same_name_can_be_created_again(
    new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager("cosmo.hooks", "audit", "cosmo-hook-audit 0.1.0")
    monkeypatch.setattr("cosmo_core_cli.new.names.default_manager", lambda: manager)
    assert new("hook", "audit").exit_code == 0


def test_existing_file_or_folder_is_not_changed(new: New, tmp_path: Path) -> None:
    (tmp_path / "cosmo-source-acme").mkdir()
    (tmp_path / "cosmo-synapse-acme").write_text("mine", "utf-8")
    for kind in ("source", "synapse"):
        result = new(kind, "acme")
        assert result.exit_code == 2
        assert result.stderr == f"cosmo: cosmo-{kind}-acme exists and was not changed\n"
    assert files(tmp_path) == {"cosmo-synapse-acme": "mine"}


def test_directory_that_is_a_file_is_rejected(new: New, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    result = new("source", "acme", "--directory", "file")
    assert result.exit_code == 2
    assert "file" in result.stderr
    assert files(tmp_path) == {"file": "mine"}


def test_failed_write_leaves_no_files(new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = new("source", "acme")
    assert result.exit_code == 2
    assert result.stderr == "cosmo: cannot write into cosmo-source-acme: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_is_rejected_with_the_list_of_kinds(new: New) -> None:
    result = new("neuron", "acme")
    assert result.exit_code == 2
    for kind in KINDS:
        assert kind in result.stderr
