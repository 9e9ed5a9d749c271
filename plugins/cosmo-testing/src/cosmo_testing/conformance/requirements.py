"""What a kit requires, and which check proves it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, ParamSpec

import attrs

from cosmo_testing.conformance.errors import ConformanceError, UnmetError

P = ParamSpec("P")
Check = Callable[P, Coroutine[Any, Any, None]]
"""Takes what is under test and, if it has to do with faults, the name of one; raises unless all is well."""


@attrs.frozen
class Requirement:
    """One thing that must hold of everything a kit tests.

    Attributes:
        id: Stable: it is never given to another requirement.
        text: What must hold, in a sentence.
        since: The level of the kit that brought it.
    """

    id: str
    text: str
    since: str

    def is_claimed_by(self, level: str) -> bool:
        """Whether what was proved at ``level`` has claimed this one, too."""
        return _release(self.since) <= _release(level)


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class Requirements(Mapping[str, Requirement]):
    """Every requirement of a kit, by id.

    Args:
        prefix: What every id begins with, such as ``source:``.
        kind: What the kit tests, as the errors call it.
        levels: What each level of the kit brought: the texts of its requirements, by id.

    Attributes:
        checks: The check of every requirement, by id, once the modules that define them are imported.
    """

    def __init__(self, *, prefix: str, kind: str, levels: Mapping[str, Mapping[str, str]]) -> None:
        self.checks: dict[str, Check[...]] = {}
        self._prefix = prefix
        self._kind = kind
        self._by_id = {
            id: Requirement(id, text, since) for since, texts in levels.items() for id, text in texts.items()
        }

    def __getitem__(self, id: str) -> Requirement:
        return self._by_id[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def of_test(self, name: str) -> str:
        """Return the id of the requirement that a test of this name stands for."""
        return self._prefix + name.removeprefix("test_").replace("_", "-")

    def proves(self, requirement: str) -> Callable[[Check[P]], Check[P]]:
        """Make a coroutine function the check of a requirement: whatever it raises is a `ConformanceError`.

        Raises:
            ValueError: There is no such requirement, or it has a check already.
        """
        if requirement not in self:
            raise ValueError(f"{requirement!r} is no requirement: add it to the kit's list")

        def decorate(check: Check[P]) -> Check[P]:
            if requirement in self.checks:
                raise ValueError(f"{requirement!r} has a check already: {self.checks[requirement]!r}")
            proof = self.checks[requirement] = self._proof(requirement, check)
            return proof

        return decorate

    def _proof(self, requirement: str, check: Check[P]) -> Check[P]:
        @functools.wraps(check)
        async def proof(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            try:
                await check(*args, **kwargs)
            except UnmetError as error:
                raise ConformanceError(requirement, str(error)) from error.__cause__
            except Exception as error:
                reason = f"the {self._kind} raised {type(error).__name__}: {error}"
                raise ConformanceError(requirement, reason) from error

        return proof
