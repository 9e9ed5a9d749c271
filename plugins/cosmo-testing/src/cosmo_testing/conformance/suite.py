"""The base of the pytest classes of all kits: one generated test per requirement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from cosmo_testing.conformance.kit import ConformanceError, Kit, Requirement, Subject


class Conformance(Subject):
    """The pytest class of a kit: ``class MyConformance(Conformance, MyUnderTest, kit=KIT)``.

    It gets a test for each requirement of the kit: ``test_frame_once`` for ``synapse:frame-once``. An author
    derives a test class from it. A requirement that has no meaning for the author's subject gets its reason
    in ``not_applicable``. A requirement that is not met yet is overridden, marked
    ``@pytest.mark.xfail(reason=…)``.

    Attributes:
        kit: The requirements.
    """

    kit: ClassVar[Kit]
    _standard_tests: ClassVar[dict[str, object]]

    def __init_subclass__(cls, *, kit: Kit | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kit is None:
            return
        cls.kit = kit
        tests = {each.test_name: _test_of(each, cls) for each in kit.values()}
        cls._standard_tests = {"test_the_suite_is_whole": Conformance.test_the_suite_is_whole, **tests}
        for name, test in tests.items():
            setattr(cls, name, test)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run the test of a requirement that depends on faults once for each of them."""
        name = metafunc.function.__name__
        checked = next((each for each in self.kit.values() if each.test_name == name), None)
        if "fault" in metafunc.fixturenames and checked is not None:
            faults = checked.cases(self)
            metafunc.parametrize("fault", faults, ids=[fault or "healthy" for fault in faults])

    async def violations(self) -> list[ConformanceError]:
        """Check every requirement that applies; return the errors of those that are not met."""
        return await self.kit.violations(self)

    def test_the_suite_is_whole(self) -> None:
        """The claims MUST be consistent, and every generated test MUST be there."""
        complaints = [*self.kit.contradictions(self), *self._replaced_tests()]
        if complaints:
            pytest.fail("\n".join(complaints), pytrace=False)

    def _replaced_tests(self) -> Iterator[str]:
        for name, standard in self._standard_tests.items():
            test = getattr(type(self), name)
            if test is not standard and not _is_expected_to_fail(test):
                yield (
                    f"{name} is replaced: give the reason in not_applicable, or mark it "
                    "@pytest.mark.xfail(reason=…)"
                )


def _test_of(requirement: Requirement[Any, Any], suite: type[Conformance]) -> Callable[..., None]:
    """Make the pytest test of a requirement."""

    def test(self: Conformance) -> None:
        _prove(self, requirement, None)

    def test_with_fault(self: Conformance, fault: str | None) -> None:
        _prove(self, requirement, fault)

    made: Callable[..., None] = test_with_fault if requirement.takes_fault else test
    made.__name__ = requirement.test_name
    made.__qualname__ = f"{suite.__qualname__}.{requirement.test_name}"
    made.__module__ = suite.__module__
    made.__doc__ = requirement.text
    return made


def _prove(subject: Conformance, requirement: Requirement[Any, Any], fault: str | None) -> None:
    __tracebackhide__ = True
    exemption = subject.exemption(requirement, fault)
    if exemption is not None:
        pytest.skip(f"{requirement.id}: {exemption}")
    with asyncio.Runner() as runner:
        error = runner.run(subject.kit.violation(subject, requirement.id, fault))
    if error is not None:
        # Its message and its cause, which has the subject's traceback, say everything.
        raise error.with_traceback(None)


def _is_expected_to_fail(test: object) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
