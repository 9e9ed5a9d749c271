"""A conformance kit: requirements, the subject that they are checked on, and the collection of both.

A check is a coroutine function ``check_<name>(subject)``. `requirement` makes it a `Requirement`: one object
with its id, its text, its level and its conditions. A `Kit` collects the requirements of some modules. The
pytest class, the table in the documentation and the list of mutants are derived from it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import wraps
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

import attrs

from cosmo_testing.conformance.steps import UnmetError

P = ParamSpec("P")
S = TypeVar("S", bound="Subject")
T = TypeVar("T")

Check = Callable[Concatenate[S, P], Coroutine[Any, Any, None]]
"""Takes the subject and, if it depends on a fault, the fault's name; raises if the requirement is not met."""

Condition = Callable[[Any], str | None]
"""Takes the subject; returns why a requirement does not apply to it, or None if it does."""


class ConformanceError(AssertionError):
    """A requirement is not met.

    Attributes:
        requirement: Its id.
    """

    def __init__(self, requirement: str, reason: str) -> None:
        super().__init__(f"{requirement}: {reason}")
        self.requirement = requirement


@attrs.frozen(eq=False)
class Requirement(Generic[S, P]):
    """A statement that must hold for every subject of a kit, and the check of it.

    Calling a requirement with a subject runs its check.

    Attributes:
        id: The stable id, such as ``synapse:order``. It is never reused for another requirement.
        text: The statement, in RFC 2119 form.
        since: The level of the kit that added it.
        when: The conditions under which it applies.
        check: The check.
    """

    id: str
    text: str
    since: str
    when: Sequence[Condition]
    check: Check[S, P]

    async def __call__(self, subject: S, *args: P.args, **kwargs: P.kwargs) -> None:
        """Check the subject.

        Raises:
            ConformanceError: The requirement is not met. If the subject raised, that exception is the cause.
        """
        __tracebackhide__ = True
        try:
            await self.check(subject, *args, **kwargs)
        except UnmetError as error:
            raise ConformanceError(self.id, str(error)) from error.__cause__
        except Exception as error:
            reason = f"the {subject.kind} raised {type(error).__name__}: {error}"
            raise ConformanceError(self.id, reason) from error

    @property
    def test_name(self) -> str:
        """The name of its pytest test."""
        return f"test_{_name_of(self.id)}"

    @property
    def takes_fault(self) -> bool:
        """Whether the check runs once for each fault."""
        return "fault" in inspect.signature(self.check).parameters

    def cases(self, subject: S) -> list[str | None]:
        """Return the faults with which the check runs; ``None`` is a run without a fault."""
        if not self.takes_fault:
            return [None]
        faults: list[str | None] = [*subject.faults()]
        fault = inspect.signature(self.check).parameters["fault"]
        return faults if fault.default is inspect.Parameter.empty else [None, *faults]

    def is_claimed_by(self, level: str) -> bool:
        """Tell whether a subject that claims ``level`` claims this requirement."""
        return _release(self.since) <= _release(level)


def requirement(
    id: str, text: str, *, since: str = "0.1", when: Iterable[Condition] = ()
) -> Callable[[Check[S, P]], Requirement[S, P]]:
    """Make a coroutine function the check of a requirement.

    Args:
        id: The kind of subject and the name of the check: ``synapse:frame-once`` for ``check_frame_once``.
        text: What must hold, in RFC 2119 form.
        since: The level of the kit that adds it.
        when: The conditions under which it applies. The first reason that one returns is that of the skip.

    Raises:
        ValueError: The function does not have the name of the requirement.
    """

    def decorate(check: Check[S, P]) -> Requirement[S, P]:
        expected = f"check_{_name_of(id)}"
        if check.__name__ != expected:
            raise ValueError(f"the check of {id!r} is named {check.__name__!r}, not {expected!r}")
        return Requirement(id, text, since, tuple(when), check)

    return decorate


@attrs.frozen
class RequirementOn(Generic[S, T]):
    """A `requirement` decorator for checks that take something which each run makes from the subject.

    Attributes:
        provide: Takes the subject; returns the context manager that provides it for one run of a check.
    """

    provide: Callable[[S], AbstractAsyncContextManager[T]]

    def __call__(
        self, id: str, text: str, *, when: Iterable[Condition] = ()
    ) -> Callable[[Callable[[T], Coroutine[Any, Any, None]]], Requirement[S, []]]:
        """Make a coroutine function the check of a requirement. The arguments are those of `requirement`."""

        def decorate(check: Callable[[T], Coroutine[Any, Any, None]]) -> Requirement[S, []]:
            @wraps(check)
            async def check_subject(subject: S) -> None:
                async with self.provide(subject) as provided:
                    await check(provided)

            return requirement(id, text, when=when)(check_subject)

        return decorate


class Subject:
    """What is under test, and what is claimed of it. Each kit derives from it what its checks take.

    Attributes:
        kind: The kind of subject, as error messages name it, such as ``Synapse``; set by the kit.
        not_applicable: Ids of requirements that have no meaning for this subject, each with the reason. A
            fault is named ``fault:<name>``.
        level: The level of the kit that is claimed. Later requirements are skipped, so that a new release of
            the kit does not fail existing tests.
    """

    kind: ClassVar[str]
    not_applicable: ClassVar[Mapping[str, str]] = MappingProxyType({})
    level: ClassVar[str] = "0.1"

    def faults(self) -> Iterable[str]:
        """Return the names of the faults that its environment may have, each once: by default, none."""
        return ()

    def exemption(self, requirement: Requirement[Any, Any], fault: str | None = None) -> str | None:
        """Return why a requirement is not checked, or not with this fault; ``None`` if it is checked."""
        if not requirement.is_claimed_by(self.level):
            return f"not yet claimed: level is {self.level}, and it is new in {requirement.since}"
        if requirement.id in self.not_applicable:
            return self.not_applicable[requirement.id]
        reasons = (condition(self) for condition in requirement.when)
        reason = next((reason for reason in reasons if reason is not None), None)
        return self.not_applicable.get(f"fault:{fault}") if reason is None else reason

    def contradictions(self) -> Iterator[str]:
        """Yield what is missing from the claims, or inconsistent in them."""
        for id, reason in self.not_applicable.items():
            if not reason:
                yield f"not_applicable[{id!r}] is not a reason"


class Kit(Mapping[str, Requirement[Any, Any]]):
    """The requirements of one kind of subject, by id, in the order of their definition.

    Args:
        modules: The modules that define the requirements.

    Raises:
        ValueError: Two requirements have the same id.
    """

    def __init__(self, *modules: ModuleType) -> None:
        self._by_id: dict[str, Requirement[Any, Any]] = {}
        for module in modules:
            for each in vars(module).values():
                # A module may also import a requirement of another one.
                if isinstance(each, Requirement) and each.check.__module__ == module.__name__:
                    if each.id in self._by_id:
                        raise ValueError(f"two checks have the id {each.id!r}")
                    self._by_id[each.id] = each

    def __getitem__(self, id: str) -> Requirement[Any, Any]:
        return self._by_id[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    async def violation(self, subject: Subject, id: str, fault: str | None = None) -> ConformanceError | None:
        """Check one requirement; return its error, or ``None`` if it is met."""
        check = self[id]
        try:
            await (check(subject) if fault is None else check(subject, fault))
        except ConformanceError as error:
            return error
        return None

    async def violations(self, subject: Subject) -> list[ConformanceError]:
        """Check every requirement that applies; return the errors of those that are not met."""
        found = [
            await self.violation(subject, each.id, fault)
            for each in self.values()
            for fault in each.cases(subject)
            if subject.exemption(each, fault) is None
        ]
        return [error for error in found if error is not None]

    def contradictions(self, subject: Subject) -> Iterator[str]:
        """Yield what is missing from a subject's claims, or inconsistent in them."""
        yield from subject.contradictions()
        known = {*self, *(f"fault:{name}" for name in subject.faults())}
        for id in subject.not_applicable:
            if id not in known:
                yield f"not_applicable names {id!r}, which does not exist"

    def table(self) -> str:
        """Return the requirements as a Markdown table, for the documentation."""
        rows = [f"| `{each.id}` | {each.since} | {each.text} |" for each in self.values()]
        return "\n".join(["| requirement | since | |", "|---|---|---|", *rows])


def supplied(base: type[Subject], method: str) -> Condition:
    """Return the condition that a subject overrides an optional method of ``base``."""

    def condition(subject: Subject) -> str | None:
        missing = getattr(type(subject), method) is getattr(base, method)
        return f"{method}() is not supplied" if missing else None

    return condition


def claimed(name: str) -> Condition:
    """Return the condition that an attribute of the subject is true, or not empty."""

    def condition(subject: Subject) -> str | None:
        value = getattr(subject, name)
        return None if value else f"{name} = {value!r}"

    return condition


_answers: dict[type, Any] = {}


def asked_once(kind: type, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of ``ask``, which runs once for each class: it may have to start a server."""
    if kind not in _answers:
        # In a thread, as the caller may be inside a running event loop.
        with ThreadPoolExecutor(1) as thread:
            _answers[kind] = thread.submit(asyncio.run, ask()).result()
    answer: T = _answers[kind]
    return answer


def _name_of(id: str) -> str:
    return id.partition(":")[2].replace("-", "_")


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
