"""The commands of plugins and their help texts, read without importing the plugins or the core."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

GROUP: Final = "cosmo.commands"
"""The entry-point group of commands."""

_SWITCHES: Final = ("COSMO_DISABLE_PLUGINS", "COSMO_PREFER_PLUGINS")


def documented_commands() -> Mapping[str, str | None] | None:
    """Return the names of the commands of plugins, with the first sentence of each help text.

    A help text is None if the source of the command does not show it: import the command then.

    Returns:
        None if only the plugin manager can tell what counts: a name has several claims, a distribution is
        damaged, or an environment variable disables or prefers plugins.
    """
    if any(os.environ.get(name) for name in _SWITCHES):
        return None
    try:
        points = list(metadata.entry_points(group=GROUP))
    except Exception:  # noqa: BLE001 - the manager reports it
        return None
    documented = {point.name: _first_sentence(point) for point in points}
    return documented if len(documented) == len(points) else None


def _first_sentence(point: metadata.EntryPoint) -> str | None:
    """Return the first sentence of the docstring of the function that an entry point names."""
    try:
        source = _source(point.module)
        tree = ast.parse("" if source is None else source)
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr and not _has_options(node):
            paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
            return " ".join(paragraph.split()).removesuffix(".") + "." if paragraph else None
    return None


def _has_options(node: ast.FunctionDef) -> bool:
    """Tell whether the decorator that makes the command has options, which may be another help text."""
    return any(
        isinstance(each, ast.Call)
        and ast.unparse(each.func).endswith(("command", "group"))
        and bool(each.keywords)
        for each in node.decorator_list
    )


def _source(module: str) -> bytes | None:
    """Return the source of a module; unlike `importlib.util.find_spec`, this imports no package above it."""
    spec, path = None, None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_bytes()
