"""The page of the kit has the table of its requirements."""

from __future__ import annotations

import re
from pathlib import Path

from cosmo_context.testing import ContextNeuronConformance
from cosmo_context.testing.checks import KIT

PAGE = Path(__file__).parents[4] / "docs" / "writing-a-context-neuron.md"


def test_every_requirement_has_one_test_with_its_text() -> None:
    tests = {name: test for name, test in vars(ContextNeuronConformance).items() if name.startswith("test_")}
    assert {name: test.__doc__ for name, test in tests.items()} == {
        each.test_name: each.text for each in KIT.values()
    }


def test_every_requirement_is_in_rfc_2119_form() -> None:
    for each in KIT.values():
        assert re.search(r"\b(MUST|MAY)\b", each.text), each.id
        assert each.text.endswith("."), each.id


def test_the_page_has_the_table_of_requirements() -> None:
    assert KIT.table() in PAGE.read_text("utf-8")
