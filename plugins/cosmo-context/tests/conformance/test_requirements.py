"""The requirements, their checks, their tests, their mutants and their page are the same list."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from cosmo_context.testing import ContextNeuronConformance, checks
from cosmo_context.testing.requirements import REQUIREMENTS

HERE = Path(__file__).parent
PAGE = HERE.parents[3] / "docs" / "writing-a-context-neuron.md"


def test_every_requirement_has_one_check_and_every_check_is_public() -> None:
    assert checks.CHECKS.keys() == REQUIREMENTS.keys()
    for id, check in checks.CHECKS.items():
        name = "check_" + id.removeprefix("context:").replace("-", "_")
        assert getattr(checks, name) is check
        assert name in checks.__all__


def test_every_requirement_has_one_test_that_says_the_same() -> None:
    tests = {
        "context:" + name.removeprefix("test_").replace("_", "-"): test
        for name, test in vars(ContextNeuronConformance).items()
        if name.startswith("test_") and name != "test_the_suite_is_whole"
    }
    assert {id: test.__doc__ for id, test in tests.items()} == {
        id: requirement.text for id, requirement in REQUIREMENTS.items()
    }
    for id, test in tests.items():
        assert f'self.prove("{id}")' in inspect.getsource(test)


def test_the_checks_of_every_module_have_mutants() -> None:
    modules = {check.__module__.rpartition("_")[2] for check in checks.CHECKS.values()}
    assert {path.stem.rpartition("_")[2] for path in HERE.glob("test_mutants_*.py")} == modules


def test_the_page_lists_every_requirement() -> None:
    rows = re.findall(r"^\| `(context:[^`]+)` \| ([\d.]+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(each.id, each.since, each.text) for each in REQUIREMENTS.values()]
