"""A Sphinx extension that links types and docstrings to the pages of public names.

A type is defined in one module and imported by users from another; the pages have the latter. Names of other
libraries and names outside of the public interface get no link, so nothing is loaded from the network. A name
that does not exist stays a warning.
"""

from __future__ import annotations

import builtins
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.domains.python import PythonDomain
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

OURS: Final = "cosmo_"
COMMON: Final = ("collections.abc", "contextlib", "typing")
"""Modules whose names are written without the module."""


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the resolver for names that Sphinx does not find."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Any) -> Any:
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    name = node["reftarget"]
    page = _documented(domain, name, node.get("py:module") or "")
    if page is not None:
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", page, node, text)
    # A single backtick also marks code, such as an argument; a dotted name of ours is a link.
    is_code = node["reftype"] == "obj" and not name.startswith(OURS)
    return text if is_code or _exists(name) else None


def _documented(domain: PythonDomain, name: str, module: str) -> str | None:
    """Return the name under which the object ``name`` is documented, or None."""
    found = _imported(name)
    if found is not None and (home := _by_home(domain).get(_home(found))):
        return home
    package = module.partition(".")[0]
    same = [known for known in domain.objects if known.endswith(f".{name}")]
    # The nearest first: in the same package, then with the fewest dots.
    same.sort(key=lambda known: (not known.startswith(f"{package}."), known.count(".")))
    return same[0] if same else None


def _by_home(domain: PythonDomain) -> dict[str, str]:
    classes = {name for name, entry in domain.objects.items() if entry.objtype in {"class", "exception"}}
    return {_home(_imported(name)): name for name in classes}


def _home(found: Any) -> str:
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


def _imported(name: str) -> Any:
    """Return the object of a dotted name, or None if it does not exist."""
    module, _, attribute = name.rpartition(".")
    if not module:
        return None
    try:
        return getattr(import_module(module), attribute, None)
    except ImportError:
        return getattr(_imported(module), attribute, None)


def _exists(name: str) -> bool:
    if "." in name:
        return _imported(name) is not None
    homes = [module for key, module in sys.modules.items() if key.startswith(OURS) or key in COMMON]
    return any(hasattr(home, name) for home in (builtins, *homes))
