"""The Context: the state of one task, with child Contexts for subtasks, and with snapshots."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

import attrs

from cosmo_context.config import ContextConfig
from cosmo_context.errors import ContextError
from cosmo_context.state import ContextState

Clock = Callable[[], datetime]
"""Returns the current time as a datetime with a time zone."""

MAX_CHECKPOINTS: Final = 64
"""Most snapshots that a Context keeps; the oldest are deleted."""


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A snapshot of a Context.

    Attributes:
        task_id: The id of the Context.
        version: The number of the snapshot; the first of a Context has 1.
        values: A deep copy of all readable values. The ``repr`` does not show them.
        metadata: Notes of the program.
    """

    task_id: str
    version: int
    values: Mapping[str, Any] = attrs.field(repr=False)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


class Context:
    """The id, the settings and the state of one task, for context Neurons to read.

    Args:
        task_id: The id of the task.
        config: The settings; by default those of the parent, or else the default settings.
        parent: The Context whose values are read where this one has none.
        state: The first values; or a `ContextState`, which is used as it is, without the parent's values.
        clock: Returns the current time; by default the clock of the parent, or else of the system.

    Raises:
        ContextError: ``task_id`` is empty.
    """

    def __init__(
        self,
        task_id: str,
        *,
        config: ContextConfig | None = None,
        parent: Context | None = None,
        state: ContextState | Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not task_id:
            raise ContextError("task_id is required and must be non-empty")
        self._task_id = task_id
        self._parent = parent
        self._config = config or (parent.config if parent else ContextConfig())
        self._clock = clock or (parent.clock if parent else _system_clock)
        inherited = parent.state if parent else None
        self._state = state if isinstance(state, ContextState) else ContextState(state, parent=inherited)
        self._checkpoints: deque[Checkpoint] = deque(maxlen=MAX_CHECKPOINTS)
        self._versions = 0

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self._task_id

    @property
    def config(self) -> ContextConfig:
        """The settings."""
        return self._config

    @property
    def parent(self) -> Context | None:
        """The Context it was forked from."""
        return self._parent

    @property
    def state(self) -> ContextState:
        """The state that context Neurons read."""
        return self._state

    @property
    def clock(self) -> Clock:
        """Returns the current time."""
        return self._clock

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The latest snapshots, at most `MAX_CHECKPOINTS`, the oldest first."""
        return tuple(self._checkpoints)

    def fork(self, task_id: str) -> Context:
        """Make a Context for a subtask. It reads the current values of this one, and writes only its own."""
        return Context(task_id, parent=self)

    def merge(self, child: Context) -> None:
        """Copy the child's own values to this Context. Values that only the child deleted stay.

        Raises:
            ContextError: ``child`` was not forked from this Context.
        """
        if child.parent is not self:
            raise ContextError(f"Context {child.task_id!r} is not a child of {self._task_id!r}")
        self._state.update(child.state)

    def snapshot(self, *, metadata: Mapping[str, Any] | None = None) -> Checkpoint:
        """Take a snapshot: a deep copy of all readable values, including inherited ones.

        Raises:
            ContextError: A value cannot be copied; the message names its key.
        """
        checkpoint = Checkpoint(
            task_id=self._task_id,
            version=self._versions + 1,
            values=self._copied_values(),
            metadata=dict(metadata or {}),
        )
        self._versions = checkpoint.version
        self._checkpoints.append(checkpoint)
        return checkpoint

    def _copied_values(self) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        # One memo for all values, so that objects that two keys share are shared in the copy.
        memo: dict[int, Any] = {}
        for key, value in self._state.to_dict().items():
            try:
                copied[key] = copy.deepcopy(value, memo)
            except Exception as error:
                raise ContextError(
                    f"Context {self._task_id!r} cannot be copied: state key {key!r} holds a"
                    f" {type(value).__name__}"
                ) from error
        return copied

    @classmethod
    def restore(
        cls, checkpoint: Checkpoint, *, config: ContextConfig | None = None, clock: Clock | None = None
    ) -> Self:
        """Make a Context without a parent from a snapshot. The snapshot can be restored several times.

        Raises:
            ContextError: The argument is not a `Checkpoint`.
        """
        if not isinstance(checkpoint, Checkpoint):
            raise ContextError(f"expected a Checkpoint, not {type(checkpoint).__name__}")
        return cls(
            checkpoint.task_id, config=config, state=copy.deepcopy(dict(checkpoint.values)), clock=clock
        )

    def __repr__(self) -> str:
        parent = f", parent={self._parent.task_id!r}" if self._parent else ""
        return f"Context(task_id={self._task_id!r}{parent})"


def _system_clock() -> datetime:
    return datetime.now(UTC)
