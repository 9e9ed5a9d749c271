"""No two modules of the core and the plugins import each other, not even late or for type checkers only."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


def _modules(checkout: Path) -> dict[str, Path]:
    """Return the file of every module of the core and the plugins, by its dotted name."""
    roots = [(checkout, "cosmo_core"), *((src, "*") for src in checkout.glob("plugins/*/src"))]
    modules = {}
    for root, package in roots:
        for file in root.glob(f"{package}/**/*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return modules


def _imports(file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Give the modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in submodules if name in modules)
            if not all(name in modules for name in submodules) and node.module in modules:
                yield node.module


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return one circle of imports, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other(checkout: Path) -> None:
    modules = _modules(checkout)
    assert {"cosmo_core.dendrite.dendrite", "cosmo_llm", "cosmo_testing"} <= modules.keys()
    graph = {name: {*_imports(file, modules)} - {name} for name, file in modules.items()}
    assert _circle(graph) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "cosmo_core"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def late() -> None:\n    from cosmo_core import b\n")
    (package / "b.py").write_text("if False:\n    from cosmo_core.a import late\n")
    modules = _modules(tmp_path)
    graph = {name: {*_imports(file, modules)} for name, file in modules.items()}
    assert {"cosmo_core.a", "cosmo_core.b"} <= set(_circle(graph))
