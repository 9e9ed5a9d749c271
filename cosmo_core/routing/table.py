"""Who gets a frame: subjects, wildcards and queue groups.

A subject is made of tokens joined by dots. In a pattern ``*`` stands for one token, and ``>``, only at the
end, for one or more (P-3.2).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle
from typing import Final, Generic, TypeVar

import attrs

from cosmo_core.errors import SynapseError
from cosmo_core.protocol.ids import is_token

T = TypeVar("T")

MAX_SUBJECT: Final = 512
"""How many characters a subject or a pattern may have (P-3.2)."""

MAX_CACHED_ROUTES: Final = 10_000
"""How many subjects a table remembers the way of before it starts afresh."""


class QueueGroup(Generic[T]):
    """The members of one queue group; each frame goes to one of them, in turn."""

    __slots__ = ("members", "name", "turns")

    def __init__(self, name: str, members: tuple[T, ...]) -> None:
        self.name = name
        self.members = members
        self.turns = cycle(members)

    def pick(self) -> T:
        """Return the member whose turn it is."""
        return next(self.turns)


@attrs.frozen
class Route(Generic[T]):
    """Where the frames of one subject go: to every single target, and to one member of every group."""

    targets: tuple[T, ...]
    groups: tuple[QueueGroup[T], ...]


@attrs.frozen
class _Entry(Generic[T]):
    target: T
    queue_group: str | None


@attrs.define
class _Node(Generic[T]):
    children: dict[str, _Node[T]] = attrs.field(factory=dict)
    entries: list[_Entry[T]] = attrs.field(factory=list)


class SubjectTable(Generic[T]):
    """Maps patterns to targets, and subjects to the targets they reach.

    Attributes:
        known: What `route` has returned since the table changed, by subject.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.known: dict[str, Route[T]] = {}
        # Shared by the subjects that reach the same members: their turns go on from one subject to the next.
        self._groups: dict[tuple[str, tuple[int, ...]], QueueGroup[T]] = {}

    def add(self, pattern: str, target: T, queue_group: str | None = None) -> None:
        """Let ``target`` have the frames of ``pattern``, alone or as a member of a queue group.

        Members of one group share even when their patterns differ.

        Raises:
            SynapseError: The pattern or the group's name is malformed.
        """
        check_pattern(pattern, queue_group)
        node = self._root
        for token in pattern.split("."):
            node = node.children.setdefault(token, _Node())
        node.entries.append(_Entry(target, queue_group))
        self._forget()

    def remove(self, pattern: str, target: T) -> None:
        """Take back one `add` of ``target``; nothing happens if there was none."""
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            child = path[-1].children.get(token)
            if child is None:
                return
            path.append(child)
        path[-1].entries = [entry for entry in path[-1].entries if entry.target is not target]
        for parent, token in zip(reversed(path[:-1]), reversed(tokens), strict=True):
            if parent.children[token].entries or parent.children[token].children:
                break
            del parent.children[token]
        self._forget()

    def route(self, subject: str) -> Route[T]:
        """Return where a frame on ``subject`` goes. The same object comes back until the table changes.

        Raises:
            SynapseError: The subject is malformed; wildcards are for patterns only.
        """
        return self.known.get(subject) or self._resolve(subject)

    def _resolve(self, subject: str) -> Route[T]:
        tokens = check_subject(subject).split(".")
        targets: list[T] = []
        groups: dict[str, list[T]] = {}
        for entry in _matching(self._root, tokens, 0):
            if entry.queue_group is None:
                targets.append(entry.target)
            else:
                groups.setdefault(entry.queue_group, []).append(entry.target)
        if len(self.known) >= MAX_CACHED_ROUTES:
            self._forget()
        route = Route(
            tuple(targets), tuple(self._share(name, tuple(members)) for name, members in groups.items())
        )
        self.known[subject] = route
        return route

    def _share(self, name: str, members: tuple[T, ...]) -> QueueGroup[T]:
        # By identity, as `remove` goes by it: targets need not be hashable.
        key = (name, tuple(map(id, members)))
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = QueueGroup(name, members)
        return group

    def _forget(self) -> None:
        self.known.clear()
        self._groups.clear()


@lru_cache(MAX_CACHED_ROUTES)
def check_subject(subject: str) -> str:
    """Return ``subject`` if frames can be published on it.

    Raises:
        SynapseError: It is not made of tokens; wildcards are for patterns only.
    """
    _check_length("subject", subject)
    if not all(map(is_token, subject.split("."))):
        raise SynapseError(f"{subject!r} is no subject: use tokens of A-Z a-z 0-9 _ - joined by dots")
    return subject


def check_pattern(pattern: str, queue_group: str | None = None) -> str:
    """Return ``pattern`` if it can be subscribed to, as a member of ``queue_group``.

    Raises:
        SynapseError: The pattern or the name of the group is malformed.
    """
    if queue_group is not None and not is_token(queue_group):
        raise SynapseError(f"{queue_group!r} is no name for a queue group: use A-Z a-z 0-9 _ -")
    _check_length("pattern", pattern)
    tokens = pattern.split(".")
    for index, token in enumerate(tokens):
        last = index == len(tokens) - 1
        if not (is_token(token) or token == "*" or (token == ">" and last)):  # noqa: S105 - not a password
            raise SynapseError(f"{pattern!r} is no pattern: tokens are names, * or a final >")
    return pattern


def _check_length(what: str, text: str) -> None:
    if len(text) > MAX_SUBJECT:
        raise SynapseError(f"a {what} of {len(text)} characters, more than {MAX_SUBJECT}: {text[:40]!r}…")


def _matching(node: _Node[T], tokens: list[str], at: int) -> list[_Entry[T]]:
    if at == len(tokens):
        return node.entries
    found: list[_Entry[T]] = []
    rest = node.children.get(">")
    if rest is not None:
        found += rest.entries
    for branch in (node.children.get("*"), node.children.get(tokens[at])):
        if branch is not None:
            found += _matching(branch, tokens, at + 1)
    return found
