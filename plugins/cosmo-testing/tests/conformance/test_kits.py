"""The kits: each requirement is stated once, and the tests and the documentation are derived from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cosmo_testing import EngramConformance, SourceConformance, SynapseConformance
from cosmo_testing.conformance.kit import Kit, Subject, requirement
from cosmo_testing.conformance.suite import Conformance
from cosmo_testing.sources.faults import FAULTS

DOCS = Path(__file__).parents[4] / "docs"
SUITES = [
    pytest.param(EngramConformance, "writing-an-engram.md", id="engram"),
    pytest.param(SourceConformance, "writing-a-source.md", id="source"),
    pytest.param(SynapseConformance, "writing-a-synapse.md", id="synapse"),
]
WITHOUT_PYTEST = """
import sys
sys.modules["pytest"] = None
import cosmo_testing.engrams.checks, cosmo_testing.sources.checks, cosmo_testing.synapses.checks
"""


async def check_order(subject: Subject) -> None:
    pass


@pytest.mark.parametrize(("suite", "page"), SUITES)
def test_every_requirement_has_one_test_with_its_text(suite: type[Conformance], page: str) -> None:
    tests = {name: test for name, test in vars(suite).items() if name.startswith("test_")}
    assert {name: test.__doc__ for name, test in tests.items()} == {
        each.test_name: each.text for each in suite.kit.values()
    }


@pytest.mark.parametrize(("suite", "page"), SUITES)
def test_every_requirement_is_in_rfc_2119_form(suite: type[Conformance], page: str) -> None:
    for each in suite.kit.values():
        assert re.search(r"\b(MUST|MAY)\b", each.text), each.id
        assert each.text.endswith("."), each.id


@pytest.mark.parametrize(("suite", "page"), SUITES)
def test_the_page_has_the_table_of_requirements(suite: type[Conformance], page: str) -> None:
    assert suite.kit.table() in (DOCS / page).read_text("utf-8")


def test_the_page_lists_every_fault_and_the_outcome_of_a_call() -> None:
    page = (DOCS / "writing-a-source.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| `([A-Z_]+)` \| (yes|no) \|$", page, re.MULTILINE)
    assert rows == [
        (name, fault.text, fault.failure.code, "yes" if fault.failure.recoverable else "no")
        for name, fault in FAULTS.items()
    ]


def test_a_level_claims_its_own_and_earlier_requirements() -> None:
    claimed = SourceConformance.kit["source:output-json"]
    levels = ("0.0", "0.1", "0.10", "1")
    assert [claimed.is_claimed_by(level) for level in levels] == [False, True, True, True]


def test_requirement_rejects_check_with_another_name() -> None:
    with pytest.raises(ValueError, match="'check_order', not 'check_frame_once'"):
        requirement("synapse:frame-once", "A frame MUST NOT be lost.")(check_order)


def test_kit_rejects_two_checks_with_one_id() -> None:
    module = ModuleType(__name__)
    decorate = requirement("synapse:order", "Frames MUST arrive in order.")
    vars(module).update(one=decorate(check_order), other=decorate(check_order))
    with pytest.raises(ValueError, match="two checks have the id 'synapse:order'"):
        Kit(module)


def test_kits_can_be_imported_without_pytest() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_PYTEST], check=True, timeout=60)  # noqa: S603
