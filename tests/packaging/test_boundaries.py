"""Boundaries between parts that the import contracts in pyproject.toml do not express."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def _imports(file: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_plugin_imports_no_private_name_of_another_package(plugin: Path) -> None:
    private = [
        f"{file.relative_to(plugin)}: {name}"
        for package in (plugin / "src").iterdir()
        for file in package.rglob("*.py")
        for name in _imports(file)
        if not name.startswith((f"{package.name}.", "__future__."))
        and any(part.startswith("_") for part in name.split("."))
    ]
    assert private == []


def test_plugin_does_not_import_the_libraries_of_the_plugin_manager(plugin: Path) -> None:
    names = {name.partition(".")[0] for file in (plugin / "src").rglob("*.py") for name in _imports(file)}
    assert names.isdisjoint({"pluggy", "importlib_metadata"})


def test_only_the_link_of_a_dendrite_calls_a_synapse(checkout: Path) -> None:
    core = checkout / "cosmo_core"
    callers = {
        file.relative_to(core).as_posix()
        for file in core.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"publish", "subscribe"}
    }
    assert callers == {"dendrite/transport/link.py"}
