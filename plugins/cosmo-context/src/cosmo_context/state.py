"""The values of a Context, which fall back to the current values of its parent."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any, Final

_MISSING: Final = object()


class ContextState:
    """Values by key. Reading falls back to the parent; writing and deleting change only own values.

    Values are not copied: changing a list that was read from the parent changes the list of the parent.

    Args:
        initial: The first own values.
        parent: The state to read missing values from.
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
        """The state that missing values are read from."""
        return self._parent

    def get(self, key: str, default: Any = None) -> Any:
        """Return an own or inherited value. An own None hides the value of the parent."""
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
        """Set an own value."""
        self._local[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        self._local[key] = value

    def update(self, values: Mapping[str, Any] | ContextState | None = None, /, **more: Any) -> None:
        """Set several own values. From another state, only its own values are taken."""
        if values is not None:
            self._local.update(values._local if isinstance(values, ContextState) else values)
        self._local.update(more)

    def delete(self, key: str) -> None:
        """Delete an own value, so that an inherited one becomes visible.

        Raises:
            KeyError: There is no own value with this key.
        """
        del self._local[key]

    __delitem__ = delete

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Delete an own value and return it.

        Raises:
            KeyError: There is no own value with this key, and no default.
        """
        return self._local.pop(key) if default is _MISSING else self._local.pop(key, default)

    def clear(self) -> None:
        """Delete all own values."""
        self._local.clear()

    def local_dict(self) -> dict[str, Any]:
        """Return the own values in a new dict."""
        return dict(self._local)

    def to_dict(self) -> dict[str, Any]:
        """Return all readable values in a new dict, with the keys of the oldest ancestor first."""
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
        """Return all readable keys, in the order of `to_dict`."""
        return self.to_dict().keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"<ContextState {list(self.keys())}>"
