"""What the pytest classes of all kits share: none of their tests is replaced in silence. Needs pytest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cosmo_testing.conformance.checking import cases, violation
from cosmo_testing.conformance.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator


class Conformance(Subject):
    """What the pytest class of every kit can do.

    A kit derives one class from it, with one test per requirement, which calls `prove`; authors derive theirs
    from that. A requirement that has no meaning for what they test gets its reason in ``not_applicable``. One
    that is not met yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run the test of a requirement once for every fault, if it has to do with faults."""
        requirement = self.requirements.of_test(metafunc.function.__name__)
        if "fault" in metafunc.fixturenames and requirement in self.requirements:
            faults = cases(self, requirement)
            metafunc.parametrize("fault", faults, ids=[fault or "healthy" for fault in faults])

    def prove(self, requirement: str, fault: str | None = None) -> None:
        """Run the check of a requirement, in a loop of its own.

        Raises:
            ConformanceError: It is not met.
        """
        __tracebackhide__ = True
        exemption = self.exemption(requirement, fault)
        if exemption is not None:
            pytest.skip(f"{requirement}: {exemption}")
        with asyncio.Runner() as runner:
            error = runner.run(violation(self, requirement, fault))
        if error is not None:
            # It says all there is to say; what was raised under test is its cause, traceback and all.
            raise error.with_traceback(None)

    def test_the_suite_is_whole(self) -> None:
        """What is claimed fits together, and every standard test is there."""
        complaints = [*self.contradictions(), *_replaced_tests(type(self))]
        if complaints:
            pytest.fail("\n".join(complaints), pytrace=False)


def _replaced_tests(suite: type[Conformance]) -> Iterator[str]:
    for name, standard in _standard_tests(suite).items():
        test = getattr(suite, name)
        if test is not standard and not _is_expected_to_fail(test):
            yield (
                f"{name} is replaced: give the reason in not_applicable, or mark it "
                "@pytest.mark.xfail(reason=…)"
            )


def _standard_tests(suite: type[Conformance]) -> dict[str, object]:
    """Give the tests of the kit's own class, which is the one right under `Conformance`, and of this one."""
    kit = next(each for each in suite.__mro__ if Conformance in each.__bases__)
    return {
        name: test
        for each in (Conformance, kit)
        for name, test in vars(each).items()
        if name.startswith("test_")
    }


def _is_expected_to_fail(test: object) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
