"""What the import name `cosmonapse` offers, and that the README says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cosmo_core
import cosmo_synapse_memory
import cosmonapse

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cosmonapse.__all__)
def test_a_name_is_the_object_of_the_core_or_of_the_memory_synapse(name: str) -> None:
    homes = (cosmo_core, cosmo_core.ids, cosmo_synapse_memory)
    assert any(getattr(cosmonapse, name) is getattr(home, name, None) for home in homes)


def test_the_readme_lists_exactly_the_names_there_are() -> None:
    section = README.partition("\n## `cosmonapse`\n")[2].partition("\n### What differs\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(cosmonapse.__all__)
