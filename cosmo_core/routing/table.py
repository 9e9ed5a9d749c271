"""The subject table: matches subjects against patterns with wildcards and queue groups.

A subject consists of tokens joined by dots. In a pattern, ``*`` matches one token. ``>`` matches one or more
tokens and is allowed only at the end (P-3.2).
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
"""Characters in the longest subject or pattern (P-3.2)."""

MAX_CACHED_ROUTES: Final = 10_000
"""How many routes a table caches before it clears its cache."""

MAX_CACHED_TARGETS: Final = 100_000
"""How many targets these routes may have, together."""


class QueueGroup(Generic[T]):
    """The members of one queue group. Each frame goes to one of them, in turn."""

    __slots__ = ("members", "name", "rotation")

    def __init__(self, name: str, members: tuple[T, ...]) -> None:
        self.name = name
        self.members = members
        self.rotation = cycle(members)

    def pick(self) -> T:
        """Return the member whose turn it is."""
        return next(self.rotation)


@attrs.frozen
class Route(Generic[T]):
    """Where the frames of one subject go: to every target, and to one member of every group."""

    targets: tuple[T, ...]
    groups: tuple[QueueGroup[T], ...]


@attrs.define
class _Node(Generic[T]):
    children: dict[str, _Node[T]] = attrs.field(factory=dict)
    # By group or None, then by the identity of the target: a change costs the same however many there are.
    entries: dict[str | None, dict[int, T]] = attrs.field(factory=dict)
    # The same as tuples, while they have not changed.
    members: dict[str | None, tuple[T, ...]] = attrs.field(factory=dict)


class SubjectTable(Generic[T]):
    """Maps patterns to targets, and subjects to the targets they reach.

    Attributes:
        cached: The routes that `route` returned since the table last changed, by subject.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.cached: dict[str, Route[T]] = {}
        self._cached_targets = 0
        # Subjects that reach the same members share one group, so that their rotation is common.
        self._groups: dict[tuple[str, int], QueueGroup[T]] = {}
        self._equal_groups: dict[tuple[str, tuple[int, ...]], QueueGroup[T]] = {}

    def add(self, pattern: str, target: T, queue_group: str | None = None) -> None:
        """Route the frames of ``pattern`` to ``target``, alone or as a member of a queue group.

        Members of one group share its frames even if their patterns differ.

        Raises:
            SynapseError: The pattern or the name of the queue group is malformed.
        """
        check_pattern(pattern, queue_group)
        node = self._root
        for token in pattern.split("."):
            node = node.children.setdefault(token, _Node())
        node.entries.setdefault(queue_group, {})[id(target)] = target
        node.members.clear()
        self._clear_cache()

    def remove(self, pattern: str, target: T) -> None:
        """Undo `add` of ``target``; do nothing if there was none."""
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            child = path[-1].children.get(token)
            if child is None:
                return
            path.append(child)
        for group, entries in list(path[-1].entries.items()):
            entries.pop(id(target), None)
            if not entries:
                del path[-1].entries[group]
        path[-1].members.clear()
        for parent, token in zip(reversed(path[:-1]), reversed(tokens), strict=True):
            if parent.children[token].entries or parent.children[token].children:
                break
            del parent.children[token]
        self._clear_cache()

    def route(self, subject: str) -> Route[T]:
        """Return where a frame on ``subject`` goes. It is the same object until the table changes.

        Raises:
            SynapseError: The subject is malformed; only patterns may have wildcards.
        """
        return self.cached.get(subject) or self._resolve(subject)

    def _resolve(self, subject: str) -> Route[T]:
        tokens = check_subject(subject).split(".")
        targets: list[T] = []
        groups: dict[str, tuple[T, ...]] = {}
        for node in _matching(self._root, tokens, 0):
            if not node.members:
                node.members = {name: tuple(entries.values()) for name, entries in node.entries.items()}
            for name, members in node.members.items():
                if name is None:
                    targets += members
                else:
                    # Usually one node only: then its tuple is used as it is.
                    groups[name] = groups[name] + members if name in groups else members
        count = len(targets)
        if len(self.cached) >= MAX_CACHED_ROUTES or self._cached_targets + count > MAX_CACHED_TARGETS:
            self._clear_cache()
        self._cached_targets += count
        route = Route(
            tuple(targets),
            tuple(self._shared_group(name, members) for name, members in groups.items()),
        )
        self.cached[subject] = route
        return route

    def _shared_group(self, name: str, members: tuple[T, ...]) -> QueueGroup[T]:
        # By the identity of the tuple, which a node or the group keeps: targets need not be hashable.
        group = self._groups.get((name, id(members)))
        if group is None:
            same = (name, tuple(map(id, members)))
            group = self._equal_groups.get(same)
            if group is None:
                group = self._equal_groups[same] = QueueGroup(name, members)
            if group.members is members:
                self._groups[name, id(members)] = group
        return group

    def _clear_cache(self) -> None:
        self.cached.clear()
        self._groups.clear()
        self._equal_groups.clear()
        self._cached_targets = 0


@lru_cache(MAX_CACHED_ROUTES)
def check_subject(subject: str) -> str:
    """Return ``subject`` if it is a valid subject to publish on.

    Raises:
        SynapseError: It does not consist of tokens; only patterns may have wildcards.
    """
    _check_length("subject", subject)
    if not all(map(is_token, subject.split("."))):
        raise SynapseError(
            f"{subject!r} is not a valid subject: use tokens of A-Z a-z 0-9 _ - joined by dots"
        )
    return subject


def check_pattern(pattern: str, queue_group: str | None = None) -> str:
    """Return ``pattern`` if it is a valid pattern, and ``queue_group`` a valid name or None.

    Raises:
        SynapseError: The pattern or the name of the queue group is malformed.
    """
    if queue_group is not None and not is_token(queue_group):
        raise SynapseError(f"{queue_group!r} is not a valid name for a queue group: use A-Z a-z 0-9 _ -")
    _check_length("pattern", pattern)
    tokens = pattern.split(".")
    for index, token in enumerate(tokens):
        last = index == len(tokens) - 1
        if not (is_token(token) or token == "*" or (token == ">" and last)):  # noqa: S105 - not a password
            raise SynapseError(f"{pattern!r} is not a valid pattern: a token is a name, * or a final >")
    return pattern


def matches(pattern: str, subject: str) -> bool:
    """Return whether a valid pattern matches a valid subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
    elif len(tokens) != len(wanted):
        return False
    return all(token in {"*", given} for token, given in zip(wanted, tokens, strict=False))


def _check_length(what: str, text: str) -> None:
    if len(text) > MAX_SUBJECT:
        raise SynapseError(
            f"the {what} has {len(text)} characters, and at most {MAX_SUBJECT} are allowed: {text[:40]!r}…"
        )


def _matching(node: _Node[T], tokens: list[str], at: int) -> list[_Node[T]]:
    if at == len(tokens):
        return [node]
    found: list[_Node[T]] = []
    rest = node.children.get(">")
    if rest is not None:
        found.append(rest)
    for branch in (node.children.get("*"), node.children.get(tokens[at])):
        if branch is not None:
            found += _matching(branch, tokens, at + 1)
    return found
