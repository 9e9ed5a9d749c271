"""The names of `orbiter.context`, and their list in the README."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

import cosmo_context
import orbiter.context

README: Final = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MODULES: Final = (
    "orbiter.context",
    *(module.name for module in pkgutil.iter_modules(orbiter.context.__path__, "orbiter.context.")),
)


def names_of(module: str) -> list[str]:
    names: list[str] = import_module(module).__all__
    return names


@pytest.mark.parametrize("name", sorted({name for module in MODULES for name in names_of(module)}))
def test_name_is_the_object_of_cosmo_context_in_every_module(name: str) -> None:
    offered = [import_module(module) for module in MODULES if name in names_of(module)]
    assert {id(getattr(module, name)) for module in offered} == {id(getattr(cosmo_context, name))}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("orbiter.context.neuron", {"Neuron", "neuron_registry"}),
        ("orbiter.context.context", {"Context", "ContextError"}),
        ("orbiter.context.prompt_builder", {"PromptBuilder", "PromptBuilderError"}),
        ("orbiter.context.variables", {"DynamicVariableRegistry", "VariableResolveError"}),
        ("orbiter.context.config", {"AutomationMode", "ContextConfig", "make_config"}),
        ("orbiter.context.state", {"ContextState"}),
        ("orbiter.context.checkpoint", {"Checkpoint"}),
    ],
)
def test_module_has_the_imported_names(module: str, names: set[str]) -> None:
    assert names <= set(names_of(module))


def test_readme_lists_exactly_the_modules_and_names() -> None:
    section = README.partition("\n## `orbiter.context`\n")[2].partition("\n### Differences\n")[0]
    listed = {
        module: sorted(re.findall(r"`(\w+)`", names))
        for module, names in re.findall(r"^\| `(orbiter[\w.]+)` \|(.*)\|$", section, re.MULTILINE)
    }
    assert listed == {module: sorted(names_of(module)) for module in MODULES}
