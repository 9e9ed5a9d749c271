"""The values of a Context: its own on top of its parent's, which are read live."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any, Final

_MISSING: Final = object()


class ContextState:
    """Values by name. Reading falls through to the parent; writing and deleting touch only its own.

    A value is shared, not copied: changing a list that came from the parent changes the parent's.

    Args:
        initial: The first values of its own.
        parent: Where to read what is not here.
    """

    __slots__ = ("_local", "_parent")

    def __init__(
        self, initial: Mapping[str, Any] | ContextState | None = None, *, parent: ContextState | None = None
    ) -> None:
        self._local: dict[str, Any] = {}
        self._parent = parent
        if initial is not None:
            self.update(initial)

    @property
    def parent(self) -> ContextState | None:
        """Where it reads what is not here."""
        return self._parent

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, its own or an inherited one. A None that is there hides the parent's value."""
        state: ContextState | None = self
        while state is not None:
            value = state._local.get(key, _MISSING)
            if value is not _MISSING:
                return value
            state = state._parent
        return default

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key, _MISSING) is not _MISSING

    def set(self, key: str, value: Any) -> None:
        """Give it a value of its own."""
        self._local[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        self._local[key] = value

    def update(self, values: Mapping[str, Any] | ContextState | None = None, /, **more: Any) -> None:
        """Give it several values of its own; of another state, only that one's own."""
        if values is not None:
            self._local.update(values._local if isinstance(values, ContextState) else values)
        self._local.update(more)

    def delete(self, key: str) -> None:
        """Forget a value of its own; an inherited one shows again.

        Raises:
            KeyError: It has no such value of its own.
        """
        del self._local[key]

    __delitem__ = delete

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Forget a value of its own and return it.

        Raises:
            KeyError: It has no such value of its own, and there is no default.
        """
        return self._local.pop(key) if default is _MISSING else self._local.pop(key, default)

    def clear(self) -> None:
        """Forget every value of its own."""
        self._local.clear()

    def local_dict(self) -> dict[str, Any]:
        """Return its own values, in a new dict."""
        return dict(self._local)

    def to_dict(self) -> dict[str, Any]:
        """Return all that can be read, in a new dict; the oldest ancestor's keys come first."""
        lineage: list[ContextState] = []
        state: ContextState | None = self
        while state is not None:
            lineage.append(state)
            state = state._parent
        values: dict[str, Any] = {}
        for ancestor in reversed(lineage):
            values.update(ancestor._local)
        return values

    def keys(self) -> KeysView[str]:
        """Return the names of all that can be read, in the order of `to_dict`."""
        return self.to_dict().keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"<ContextState {list(self.keys())}>"
