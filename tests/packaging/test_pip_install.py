"""Plain pip installs the core alone, and the command of the README; neither needs nox or uv."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from tests.packaging.conftest import Run

# They make environments and build distributions; the commands have a time limit of their own.
pytestmark = pytest.mark.timeout(900)

COMES_WITH_VENV = {"pip", "setuptools"}
OTHERS = ("cosmo_llm", "cosmo_testing", "cosmo_synapse_memory", "httpx", "h11", "hypothesis", "pytest")
"""Modules of optional distributions, and what those require."""


def test_core_alone_installs_its_four_requirements_and_theirs_only(
    checkout: Path, new_python: Path, run: Run
) -> None:
    run(new_python, "-m", "pip", "install", ".", cwd=checkout)

    required = _required(new_python, run)
    assert required["cosmo-core"] == {"attrs", "importlib-metadata", "msgspec", "pluggy"}
    assert required.keys() - COMES_WITH_VENV == _closure("cosmo-core", required)
    run(new_python, "-I", "-W", "error", "-c", "import cosmo_core")
    find = f"from importlib.util import find_spec; print([name for name in {OTHERS} if find_spec(name)])"
    assert run(new_python, "-I", "-W", "error", "-c", find) == "[]\n"


def test_command_of_the_readme_installs_a_synapse_and_a_source_that_work(
    checkout: Path, new_python: Path, run: Run
) -> None:
    readme = (checkout / "README.md").read_text("utf-8")
    projects = max(re.findall(r"^python -m pip install (\. .*)$", readme, re.MULTILINE), key=len)
    run(new_python, "-m", "pip", "install", *projects.split(), cwd=checkout)

    round_trip = checkout / "tests" / "packaging" / "round_trip.py"
    assert run(new_python, "-I", "-W", "error", round_trip) == "HELLO\n"


def _required(python: Path, run: Run) -> dict[str, set[str]]:
    """Return what each installed distribution requires here, without its extras."""
    report = json.loads(run(python, "-m", "pip", "--no-color", "inspect", "--local"))
    found: dict[str, set[str]] = {}
    for distribution in report["installed"]:
        metadata = distribution["metadata"]
        requirements = [Requirement(text) for text in metadata.get("requires_dist", ())]
        found[canonicalize_name(metadata["name"])] = {
            canonicalize_name(requirement.name)
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        }
    return found


def _closure(name: str, required: Mapping[str, set[str]]) -> set[str]:
    found = {name}
    pending = [name]
    while pending:
        new = required[pending.pop()] - found
        found |= new
        pending.extend(new)
    return found
