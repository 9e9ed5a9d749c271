"""Runs the checks of a kit, for whatever runs coroutines: no pytest."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from cosmo_testing.conformance.errors import ConformanceError

if TYPE_CHECKING:
    from cosmo_testing.conformance.subject import Subject


def cases(subject: Subject, requirement: str) -> list[str | None]:
    """The faults with which a requirement is checked; ``None`` is the check without a fault."""
    fault = inspect.signature(subject.requirements.checks[requirement]).parameters.get("fault")
    if fault is None:
        return [None]
    each: list[str | None] = [*subject.faults()]
    return each if fault.default is inspect.Parameter.empty else [None, *each]


async def violation(subject: Subject, requirement: str, fault: str | None = None) -> ConformanceError | None:
    """Run one check; return what it has to say, or ``None`` when the requirement is met."""
    check = subject.requirements.checks[requirement]
    try:
        await (check(subject) if fault is None else check(subject, fault))
    except ConformanceError as error:
        return error
    return None


async def violations(subject: Subject) -> list[ConformanceError]:
    """Run every check that applies, and return what the failing ones say."""
    found = [
        await violation(subject, requirement, fault)
        for requirement in subject.requirements
        for fault in cases(subject, requirement)
        if subject.exemption(requirement, fault) is None
    ]
    return [error for error in found if error is not None]
