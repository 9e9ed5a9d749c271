"""The Context: what one task knows, in a tree of tasks, with snapshots to go back to."""

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
"""Gives the time of now, with its time zone."""

MAX_CHECKPOINTS: Final = 64
"""How many snapshots a Context keeps; then the oldest goes."""


@attrs.frozen(kw_only=True)
class Checkpoint:
    """What a Context knew at one moment.

    Attributes:
        task_id: Of the Context.
        version: Counts the snapshots of that Context, from 1 on.
        values: All that could be read, copied deeply. The ``repr`` does not tell them.
        metadata: Whatever the program wanted to note.
    """

    task_id: str
    version: int
    values: Mapping[str, Any] = attrs.field(repr=False)
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


class Context:
    """What one task knows: its id, its settings, and the state that context Neurons read.

    Args:
        task_id: Whose Context it is.
        config: Its settings; the parent's, or the defaults, when omitted.
        parent: Whose state it reads where it has no values of its own.
        state: Its state as it is, which then does not read the parent's; or its first values.
        clock: Tells the time; the parent's, or the system's, when omitted.

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
        """Whose Context it is."""
        return self._task_id

    @property
    def config(self) -> ContextConfig:
        """Its settings."""
        return self._config

    @property
    def parent(self) -> Context | None:
        """The Context it was forked from."""
        return self._parent

    @property
    def state(self) -> ContextState:
        """The values that context Neurons read."""
        return self._state

    @property
    def clock(self) -> Clock:
        """Tells the time."""
        return self._clock

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Its latest snapshots, `MAX_CHECKPOINTS` at most, the oldest first."""
        return tuple(self._checkpoints)

    def fork(self, task_id: str) -> Context:
        """Make a Context for a part of the task: it reads this one's state live, and writes its own."""
        return Context(task_id, parent=self)

    def merge(self, child: Context) -> None:
        """Take over the child's own values; what the child deleted stays.

        Raises:
            ContextError: ``child`` was not forked from this Context.
        """
        if child.parent is not self:
            raise ContextError(f"Context {child.task_id!r} is not a child of {self._task_id!r}")
        self._state.update(child.state)

    def snapshot(self, *, metadata: Mapping[str, Any] | None = None) -> Checkpoint:
        """Keep all that can be read now, inherited values too, as a deep copy.

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
        # One memo for all: what two keys share, their copies share.
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
        """Make a new Context, without a parent, from a snapshot. The snapshot can be used again.

        Raises:
            ContextError: It is no `Checkpoint`.
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
