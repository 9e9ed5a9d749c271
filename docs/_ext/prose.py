"""A Sphinx extension that corrects how docstrings are read.

In the docstring of a property and under ``Returns:``, Napoleon takes the words before the first colon for a
type; here they are part of a sentence. The docstring of a constant is in the module that defines it, but
Sphinx looks for it in the module that exports it. A protocol is never instantiated, so it has no arguments.
"""

from __future__ import annotations

import ast
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

COLON: Final = "\N{RATIO}"
"""Stands for a colon while Napoleon reads."""

NAPOLEON: Final = 500


def setup(app: Sphinx) -> ExtensionMetadata:
    """Change docstrings before Napoleon reads them, and back afterwards."""
    app.connect("autodoc-process-docstring", _before, priority=NAPOLEON - 1)
    app.connect("autodoc-process-docstring", _after, priority=NAPOLEON + 1)
    app.connect("autodoc-process-signature", _of_protocol)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _before(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    if what == "data":
        lines[:] = _constant(*name.rpartition(".")[::2])
    returns = what in {"attribute", "data", "property"}
    for number, line in enumerate(lines):
        if line and not line.startswith(" ") and what not in {"attribute", "data", "property"}:
            returns = line in {"Returns:", "Yields:"}
        elif returns:
            lines[number] = line.replace(":", COLON)


def _after(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(COLON, ":") for line in lines]


def _of_protocol(app: Sphinx, what: str, name: str, found: Any, *_: Any) -> tuple[str, None] | None:
    # Python's signature of a protocol says only that it cannot be instantiated.
    return ("", None) if what == "class" and getattr(found, "_is_protocol", False) else None


def _constant(module: str, name: str) -> list[str]:
    """Return the docstring of a constant, from the module that defines it."""
    source = sys.modules[module]
    for statement in ast.walk(ast.parse(inspect.getsource(source))):
        if isinstance(statement, ast.ImportFrom) and name in {alias.name for alias in statement.names}:
            return _constant(str(statement.module), name)
    try:
        analyzer = ModuleAnalyzer.for_module(module)
    except PycodeError:
        return []
    return analyzer.find_attr_docs().get(("", name), [])
