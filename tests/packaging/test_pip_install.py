"""Plain pip is enough: no nox, no uv, no checkout on the path."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Each makes an environment and builds distributions; what they wait for has bounds of its own.
pytestmark = pytest.mark.timeout(900)

Run = Callable[..., str]
COMES_WITH_VENV = {"pip", "setuptools"}


def test_the_core_alone_brings_its_four_requirements_and_what_they_need_and_nothing_else(
    checkout: Path, new_python: Path, run: Run
) -> None:
    run(new_python, "-m", "pip", "install", ".", cwd=checkout)

    required = _required(new_python, run)
    assert required["cosmo-core"] == {"attrs", "importlib-metadata", "msgspec", "pluggy"}
    assert required.keys() - COMES_WITH_VENV == _closure("cosmo-core", required)
    run(new_python, "-I", "-W", "error", "-c", "import cosmo_core")


def test_the_core_a_synapse_and_a_source_install_together_and_make_a_round_trip(
    checkout: Path, new_python: Path, run: Run
) -> None:
    projects = (".", "./plugins/cosmo-synapse-memory", "./plugins/cosmo-source-huggingface")
    run(new_python, "-m", "pip", "install", *projects, cwd=checkout)

    round_trip = checkout / "tests" / "packaging" / "round_trip.py"
    assert run(new_python, "-I", "-W", "error", round_trip) == "HELLO\n"


def _required(python: Path, run: Run) -> dict[str, set[str]]:
    """Say what each installed distribution requires here, apart from its extras."""
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
