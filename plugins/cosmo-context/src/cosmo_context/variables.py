"""Variables: ``${path}`` in a prompt, from registered resolvers or from the state."""

from __future__ import annotations

import inspect
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, overload

from cosmo_context.errors import VariableResolveError
from cosmo_context.state import ContextState

Resolver = Callable[[ContextState], Any]
State = ContextState | Mapping[str, Any]
Moved = Callable[[int], int]

_PLACEHOLDER: Final = re.compile(r"\$\{([^}]+)\}")

_MISSING: Final = object()
_R = Callable[[Any], Any]


def placeholders(text: str) -> Iterator[re.Match[str]]:
    """Return every ``${path}`` of a text; the path is the match's first group."""
    # Not beyond the last brace: every `${` there would be followed to the end in vain.
    return _PLACEHOLDER.finditer(text, 0, text.rfind("}") + 1)


class DynamicVariableRegistry:
    """Resolves paths: exactly registered ones first, then dotted walks through the state.

    A walk takes keys of mappings and public attributes; never a name with a leading underscore.
    """

    def __init__(self) -> None:
        self._resolvers: dict[str, Any] = {}

    @overload
    def register(self, path: str, resolver: object) -> object: ...

    @overload
    def register(self, path: str) -> Callable[[_R], _R]: ...

    def register(self, path: str, resolver: Any = _MISSING) -> Any:
        """Give a path its value, or a plain function that finds it in the state; again, another one.

        Without ``resolver``, return a decorator for the function.

        Raises:
            TypeError: The function is a coroutine function, which a template cannot wait for.
        """
        if resolver is _MISSING:
            return lambda function: self.register(path, function)
        if inspect.iscoroutinefunction(resolver):
            raise TypeError(
                f"the resolver of {path!r} is a coroutine function: a template cannot wait for it"
            )
        self._resolvers[path] = resolver
        return resolver

    def resolve(self, path: str, state: State) -> Any:
        """Return the value of a path.

        Raises:
            VariableResolveError: It leads nowhere.
        """
        if path in self._resolvers:
            resolver = self._resolvers[path]
            return resolver(state) if callable(resolver) else resolver
        value: Any = state
        for segment in path.split("."):
            value = _step(value, segment)
            if value is _MISSING:
                raise VariableResolveError(f"Variable path {path!r} not found at segment {segment!r}")
        return value

    def has(self, path: str) -> bool:
        """Tell whether a path is registered."""
        return path in self._resolvers

    def list_all(self) -> list[str]:
        """Return the registered paths."""
        return list(self._resolvers)

    def resolve_template(self, template: str, state: State) -> str:
        """Replace every ``${path}`` that leads somewhere, once; the others stay as they are."""
        return self.resolve_with_places(template, state)[0]

    def resolve_with_places(self, template: str, state: State) -> tuple[str, Moved]:
        """Do as `resolve_template`; say also where each place of the template is in the resolved text."""
        pieces: list[str] = []
        # Where each placeholder ends, and what is added to places from there on.
        ends, shifts = [0], [0]
        for found in placeholders(template):
            value = self.replacement(found, state)
            pieces += (template[ends[-1] : found.start()], value)
            ends.append(found.end())
            shifts.append(shifts[-1] + len(value) - len(found[0]))
        pieces.append(template[ends[-1] :])

        def moved(place: int) -> int:
            before = bisect_right(ends, place) - 1
            after = place + shifts[before]
            # A place inside a placeholder is not beyond its value.
            return min(after, ends[before + 1] + shifts[before + 1]) if before + 1 < len(ends) else after

        return "".join(pieces), moved

    def replacement(self, found: re.Match[str], state: State) -> str:
        """Return what takes the place of one ``${path}``: its value, or itself."""
        try:
            return f"{self.resolve(found[1], state)}"
        except VariableResolveError:
            return found[0]


def _step(value: Any, segment: str) -> Any:
    if segment.startswith("_"):
        return _MISSING
    if isinstance(value, (ContextState, Mapping)):
        return value.get(segment, _MISSING)
    return getattr(value, segment, _MISSING)
