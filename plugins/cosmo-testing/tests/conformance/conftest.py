from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from cosmo_testing.clock import VirtualTimeLoop
from cosmo_testing.conformance.kit import ConformanceError, Kit, Subject

Run = Callable[..., pytest.RunResult]


def _virtual_loop() -> VirtualTimeLoop:
    # Some checks poll: ten thousand turns, in less than a second, use up the patience of a check.
    return VirtualTimeLoop(turn_s=0.001)


class Violation(Protocol):
    def __call__(
        self, kit: Kit, subject: Subject, id: str, fault: str | None = None, *, virtual: bool = True
    ) -> ConformanceError | None: ...


@pytest.fixture
def violation() -> Violation:
    """Check a requirement in virtual time: a wait for what never comes ends at once, and no other one does.

    In real time, a short patience would fail a busy machine, and a long one would take minutes. A check whose
    waits are for a thread or a process needs real time.
    """

    def violation(
        kit: Kit, subject: Subject, id: str, fault: str | None = None, *, virtual: bool = True
    ) -> ConformanceError | None:
        with asyncio.Runner(loop_factory=_virtual_loop if virtual else None) as runner:
            # A mutant may lose errors of its tasks and callbacks.
            runner.get_loop().set_exception_handler(lambda loop, context: None)
            return runner.run(kit.violation(subject, id, fault))

    return violation


@pytest.fixture
def run(request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module's ``SUITE``, with more lines in its class, in a pytest without any plugin.

    With ``apart``, it runs in a process of its own, in which nothing has been imported.
    """
    folder = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(lines: str = "", *arguments: str, apart: bool = False) -> pytest.RunResult:
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        pytester.makepyfile(test_double=f"{request.module.SUITE}{body}")
        runs = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runs("-W", "error", "-rsx", *arguments)

    return run
