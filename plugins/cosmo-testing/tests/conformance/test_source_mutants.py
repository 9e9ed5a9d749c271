"""A correct source meets every requirement, and for each there is a broken one that does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conformance import mutants_conduct, mutants_contract, mutants_failures, mutants_life_cycle
from tests.conformance.conftest import Violation
from tests.conformance.double import MUTANTS, Double, DoubleSource, Streaming, source_of

from cosmo_testing import Scenario
from cosmo_testing.conformance import leftovers
from cosmo_testing.conformance.mutants import Mutant
from cosmo_testing.sources.checks import KIT

MODULES = (mutants_conduct, mutants_contract, mutants_failures, mutants_life_cycle)


@pytest.fixture
def tidy() -> Iterator[None]:
    """Clean up after a mutant."""
    yield
    MUTANTS.clean_up()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for threads of mutants that never end."""
    monkeypatch.setattr(leftovers, "LINGER_S", 0.05)


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a new interpreter imports from."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("double", [Double, Streaming])
async def test_correct_source_meets_every_requirement(double: type[Double | Streaming]) -> None:
    assert await KIT.violations(source_of(double)) == []


@pytest.mark.usefixtures("little_patience", "tidy")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)
def test_mutant_is_detected_with_its_reason(mutant: Mutant, importable: Path, violation: Violation) -> None:
    (importable / "connects_at_import.py").write_text(
        "import socket\nsocket.getaddrinfo('models.example', 443)\n"
    )
    source = source_of(mutant.broken)
    reasons = []
    for fault in KIT[mutant.requirement].cases(source):
        # This one waits for another process.
        virtual = mutant.requirement != "source:import-offline"
        error = violation(KIT, source, mutant.requirement, fault, virtual=virtual)
        if error is not None:
            assert error.requirement == mutant.requirement
            reasons.append(str(error))
    assert any(mutant.because in reason for reason in reasons), reasons


async def test_module_without_network_access_is_imported(importable: Path) -> None:
    (importable / "harmless.py").write_text("import json\nprint(json.__name__)\n")
    harmless = type("Harmless", (Double,), {"__module__": "harmless"})
    assert await KIT.violation(source_of(harmless), "source:import-offline") is None


async def test_provider_that_replaces_a_secret_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DoubleSource, "secrets", {"timeout": "s3cr3t"})
    error = await KIT.violation(source_of(Double), "source:secret-repr")
    assert "provider() replaces the secrets in timeout" in str(error)


async def test_failure_before_the_provider_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def unreachable(self: DoubleSource, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
        async def ask(prompt: str, key: str) -> str:
            raise ConnectionRefusedError

        yield {"ask": ask}

    monkeypatch.setattr(DoubleSource, "provider", unreachable)
    error = await KIT.violation(source_of(Double), "source:failure-code", "cut")
    assert "before it reached its provider" in str(error)


def test_every_requirement_is_broken_by_a_mutant_of_every_module() -> None:
    assert MUTANTS.unbroken() == []
    assert {mutant.broken.__module__ for mutant in MUTANTS} >= {module.__name__ for module in MODULES}
