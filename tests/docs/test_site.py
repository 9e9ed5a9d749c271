"""Every public name, page and plugin is on the documentation site, which `nox -s docs` builds."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest

CHECKOUT: Final = Path(__file__).parents[2]
DOCS: Final = CHECKOUT / "docs"
REFERENCE: Final = sorted((DOCS / "reference").rglob("*.md"))
PLUGINS: Final = sorted(path.parent for path in CHECKOUT.glob("plugins/cosmo-*/pyproject.toml"))

DIRECTIVE: Final = re.compile(r"^\.\. auto(?!module)\w+:: ([\w.]+)", re.MULTILINE)
MODULE: Final = re.compile(r"^\.\. automodule:: ([\w.]+)", re.MULTILINE)
TOCTREE: Final = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(?:#[^)\s]*)?\)")
CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)

PUBLIC: Final = (
    "cosmo_core",
    "cosmo_llm",
    "cosmo_llm.http",
    "cosmo_llm.options",
    "cosmo_core.dendrite",
    "cosmo_core.dendrite.extension",
    "cosmo_core.contracts.bindings",
    "cosmo_core.contracts.engram",
    "cosmo_core.plugins",
    "cosmo_core.routing",
    "cosmo_testing",
    "cosmo_context",
    "cosmo_context.testing",
    "cosmo_engram_postgres",
    "cosmo_engram_sqlite",
    "cosmo_source_flask",
    "cosmo_source_huggingface",
    "cosmo_source_mcp",
    "cosmo_source_ollama",
    "cosmo_synapse_memory",
    "cosmo_synapse_nats",
    "cosmo_synapse_zmq",
)


def _object(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _public_names(module: str) -> set[str]:
    """Return the names in ``__all__``; without it, those that a package imports or another module defines."""
    found = import_module(module)
    # Not `vars`, which does not have what is imported on use.
    imported = {name for name in dir(found) if not isinstance(getattr(found, name), ModuleType)}
    names = getattr(found, "__all__", imported if hasattr(found, "__path__") else _defined_names(found))
    return {f"{module}.{name}" for name in names if name[0] != "_"}


def _defined_names(module: ModuleType) -> set[str]:
    """Return the names that a module defines at its top level, and does not import."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _documented() -> set[str]:
    """Return the names that the pages of the reference document."""
    names: set[str] = set()
    for page in REFERENCE:
        text = page.read_text("utf-8")
        names.update(DIRECTIVE.findall(text))
        for module in MODULE.findall(text):
            names.update(_public_names(module))
    return names


DOCUMENTED: Final = _documented()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    names = _public_names(module) - {f"{module}.COSMO_API"}
    there = {id(_object(name)) for name in DOCUMENTED}
    # A name that two modules export is documented once; equal integers may be one object by coincidence.
    twice = {name for name in names if not isinstance(_object(name), int) and id(_object(name)) in there}
    assert names - DOCUMENTED - twice == set()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_documented_name_exists_and_has_a_docstring(name: str) -> None:
    found = _object(name)
    if isinstance(found, type | FunctionType):
        assert found.__doc__, f"{name} has no docstring"


def test_every_plugin_has_a_page_with_its_readme() -> None:
    for plugin in PLUGINS:
        page = DOCS / "reference" / "distributions" / f"{plugin.name}.md"
        assert f"{{include}} ../../../plugins/{plugin.name}/README.md" in page.read_text("utf-8")


def test_every_page_is_in_a_table_of_contents() -> None:
    listed: set[Path] = set()
    for page in DOCS.rglob("*.md"):
        for entries in TOCTREE.findall(page.read_text("utf-8")):
            lines = [line for line in entries.splitlines() if line and not line.startswith(":")]
            listed.update(found for line in lines for found in page.parent.glob(f"{line}.md"))
    pages = {page for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    examples = {
        page for page in pages if page.is_relative_to(DOCS / "examples") and page.parent.name != "examples"
    }
    assert pages - examples - {DOCS / "index.md"} == listed


def _pages() -> list[Path]:
    pages = [*CHECKOUT.glob("*.md"), *DOCS.rglob("*.md"), *CHECKOUT.glob("plugins/cosmo-*/README.md")]
    return sorted(page for page in pages if "_build" not in page.parts)


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_links_resolve(page: Path) -> None:
    text = CODE.sub("", page.read_text("utf-8"))
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def _exists(path: str) -> bool:
    """Tell whether a path of the repository, or one below the Dendrite or the core, exists."""
    roots = (CHECKOUT, CHECKOUT / "cosmo_core", CHECKOUT / "cosmo_core/dendrite")
    return any((root / path).exists() for root in roots)


def test_paths_named_by_the_architecture_exist() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`((?:cosmo_core|[a-z]+)/[\w/.]*\w)`", text))
    picture = (DOCS / "_static" / "task.svg").read_text("utf-8")
    in_picture = set(re.findall(r'class="module"[^>]*>([^<]+)<', picture))
    assert len(named) > 25
    assert len(in_picture) >= 5
    beside = {f"hosting/{path}" if "/" not in path else path for path in in_picture}
    assert [path for path in sorted(named | beside) if not _exists(path)] == []


def test_architecture_names_every_folder_of_the_core() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    core = CHECKOUT / "cosmo_core"
    folders = [*core.iterdir(), *(core / "dendrite").iterdir()]
    names = [f"cosmo_core/{path.relative_to(core)}" for path in folders if (path / "__init__.py").is_file()]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("file", "text", "converted"),
    [
        ("docs/tutorial.md", "[a](testing.md#time)", "[a](/testing.md#time)"),
        (
            "docs/distributing.md",
            "[a](../plugins/cosmo-context)",
            "[a](/reference/distributions/cosmo-context.md)",
        ),
        ("plugins/cosmo-context/README.md", "[a](../../README.md)", "[a](/index.md)"),
        ("docs/distributing.md", "[the faults](../tests/faults)", "the faults"),
        ("docs/remembering.md", "[`memory.py`](examples/memory.py)", "[`memory.py`](examples/memory.py)"),
        ("CONTRIBUTING.md", "[a](CHANGELOG.md)", "[a](/project/changelog.md)"),
        ("docs/tutorial.md", "[a](nowhere.md) [b](https://a.example/b) [c](#here)", None),
    ],
)
def test_links_of_the_repository_are_converted(file: str, text: str, converted: str | None) -> None:
    spec = spec_from_file_location("repository_links", DOCS / "_ext" / "repository_links.py")
    assert spec is not None
    assert spec.loader is not None
    links = module_from_spec(spec)
    spec.loader.exec_module(links)
    assert links.converted(text, CHECKOUT / file) == (text if converted is None else converted)
