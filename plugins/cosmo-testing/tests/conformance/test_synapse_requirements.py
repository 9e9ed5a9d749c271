"""The requirements of a Synapse, their checks, their tests and their page are the same list."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from cosmo_testing import SynapseConformance
from cosmo_testing.synapses import checks
from cosmo_testing.synapses.requirements import REQUIREMENTS

PAGE = (Path(__file__).parents[4] / "docs" / "writing-a-synapse.md").read_text("utf-8")


def test_every_requirement_has_one_check_and_every_check_is_public() -> None:
    assert checks.CHECKS.keys() == REQUIREMENTS.keys()
    for id, check in checks.CHECKS.items():
        name = "check_" + id.removeprefix("synapse:").replace("-", "_")
        assert getattr(checks, name) is check
        assert name in checks.__all__


def test_every_requirement_has_one_test_that_says_the_same() -> None:
    tests = {
        "synapse:" + name.removeprefix("test_").replace("_", "-"): test
        for name, test in vars(SynapseConformance).items()
        if name.startswith("test_")
    }
    assert {id: test.__doc__ for id, test in tests.items()} == {
        id: requirement.text for id, requirement in REQUIREMENTS.items()
    }
    for id, test in tests.items():
        assert f'self.prove("{id}")' in inspect.getsource(test)


def test_the_page_lists_every_requirement() -> None:
    rows = re.findall(r"^\| `(synapse:[^`]+)` \| ([\d.]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(each.id, each.since, each.text) for each in REQUIREMENTS.values()]
