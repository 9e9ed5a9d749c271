"""The requirements, their checks, their tests and their page are the same list."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from cosmo_testing import SourceConformance
from cosmo_testing.sources import checks
from cosmo_testing.sources.faults import FAULTS
from cosmo_testing.sources.requirements import REQUIREMENTS

PAGE = (Path(__file__).parents[4] / "docs" / "writing-a-source.md").read_text("utf-8")


def test_every_requirement_has_one_check_and_every_check_is_public() -> None:
    assert checks.CHECKS.keys() == REQUIREMENTS.keys()
    for id, check in checks.CHECKS.items():
        name = "check_" + id.removeprefix("source:").replace("-", "_")
        assert getattr(checks, name) is check
        assert name in checks.__all__


def test_every_requirement_has_one_test_that_says_the_same() -> None:
    tests = {
        "source:" + name.removeprefix("test_").replace("_", "-"): test
        for name, test in vars(SourceConformance).items()
        if name.startswith("test_") and name != "test_the_suite_is_whole"
    }
    assert {id: test.__doc__ for id, test in tests.items()} == {
        id: requirement.text for id, requirement in REQUIREMENTS.items()
    }
    for id, test in tests.items():
        assert f'self.prove("{id}"' in inspect.getsource(test)


def test_the_page_lists_every_requirement() -> None:
    rows = re.findall(r"^\| `(source:[^`]+)` \| ([\d.]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(each.id, each.since, each.text) for each in REQUIREMENTS.values()]


def test_the_page_lists_every_fault_and_how_a_call_ends_then() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| `([A-Z_]+)` \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (name, fault.text, fault.failure.code, "yes" if fault.failure.recoverable else "no")
        for name, fault in FAULTS.items()
    ]


def test_a_level_claims_what_it_and_earlier_ones_brought() -> None:
    requirement = REQUIREMENTS["source:output-json"]
    assert [requirement.is_claimed_by(level) for level in ("0.0", "0.1", "0.10", "1")] == [
        False,
        True,
        True,
        True,
    ]
