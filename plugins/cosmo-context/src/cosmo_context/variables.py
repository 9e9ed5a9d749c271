"""Variables: ``${path}`` in a prompt, resolved from registered values or from the state."""

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
    """Find every ``${path}`` in a text; the path is the first group of the match."""
    # Up to the last brace only: each `${` after it would be scanned to the end without a match.
    return _PLACEHOLDER.finditer(text, 0, text.rfind("}") + 1)


class DynamicVariableRegistry:
    """Resolves paths: registered ones first, then dotted paths through the state.

    Each segment of a dotted path is a key of a mapping or a public attribute. Names with a leading underscore
    are never resolved.
    """

    def __init__(self) -> None:
        self._resolvers: dict[str, Any] = {}

    @overload
    def register(self, path: str, resolver: object) -> object: ...

    @overload
    def register(self, path: str) -> Callable[[_R], _R]: ...

    def register(self, path: str, resolver: Any = _MISSING) -> Any:
        """Register a value for a path, or a plain function that computes it from the state.

        A path that is registered again gets the new value. Without ``resolver``, return a decorator.

        Raises:
            TypeError: The function is a coroutine function, which a template cannot await.
        """
        if resolver is _MISSING:
            return lambda function: self.register(path, function)
        if inspect.iscoroutinefunction(resolver):
            raise TypeError(
                f"the resolver of {path!r} is a coroutine function, which a template cannot await"
            )
        self._resolvers[path] = resolver
        return resolver

    def resolve(self, path: str, state: State) -> Any:
        """Return the value of a path.

        Raises:
            VariableResolveError: The path does not exist.
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
        """Replace every ``${path}`` that exists by its value, once; others are not changed."""
        return self.resolve_with_positions(template, state)[0]

    def resolve_with_positions(self, template: str, state: State) -> tuple[str, Moved]:
        """Resolve a template; also return a function that maps positions in it to positions in the result."""
        pieces: list[str] = []
        # The end of each placeholder, and the shift of the positions after it.
        ends, shifts = [0], [0]
        for found in placeholders(template):
            value = self.replacement(found, state)
            pieces += (template[ends[-1] : found.start()], value)
            ends.append(found.end())
            shifts.append(shifts[-1] + len(value) - len(found[0]))
        pieces.append(template[ends[-1] :])

        def moved(position: int) -> int:
            before = bisect_right(ends, position) - 1
            after = position + shifts[before]
            # A position inside a placeholder is mapped to the end of its value at most.
            return min(after, ends[before + 1] + shifts[before + 1]) if before + 1 < len(ends) else after

        return "".join(pieces), moved

    def replacement(self, found: re.Match[str], state: State) -> str:
        """Return the replacement for one ``${path}``: its value, or the placeholder itself."""
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
