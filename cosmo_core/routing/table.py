"""The subject table: matches subjects against patterns with wildcards and queue groups.

A subject consists of tokens joined by dots. In a pattern, ``*`` matches one token. ``>`` matches one or more
tokens and is allowed only at the end (P-3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

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

MAX_COMPARED: Final = 100
"""With how many cached routes a pattern with wildcards is compared; beyond it all are removed."""


class Turn(Generic[T]):
    """The place of a member in the circle of turns of its queue group.

    Args:
        group: The queue group.
        member: The member.
    """

    __slots__ = ("after", "before", "group", "member")

    def __init__(self, group: QueueGroup[T], member: T) -> None:
        self.group = group
        self.member = member
        # None while it takes no turns: a turn that refers to itself would need the garbage collector.
        self.before: Turn[T] | None = None
        self.after: Turn[T] | None = None

    def join(self) -> None:
        """Become the last in turn."""
        first = self.group.turn
        last = None if first is None else first.before
        if first is None or last is None:
            self.group.turn = self.before = self.after = self
        else:
            self.before, self.after = last, first
            last.after = first.before = self

    def leave(self) -> None:
        """Take no more turns; do nothing if it takes none."""
        before, after = self.before, self.after
        if before is None or after is None:
            return
        if self.group.turn is self:
            self.group.turn = None if after is self else after
        before.after, after.before = after, before
        self.before = self.after = None


class QueueGroup(Generic[T]):
    """The members of one queue group. Each frame goes to one of them, in turn.

    Adding, removing or picking a member costs the same however many there are.

    Args:
        name: The name of the group.

    Attributes:
        name: The name of the group.
        turn: Whose turn it is; None if no member takes turns.
    """

    __slots__ = ("_turns", "name", "turn")

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn: Turn[T] | None = None
        # By the identity of the member: it need not be hashable.
        self._turns: dict[int, Turn[T]] = {}

    @property
    def members(self) -> tuple[T, ...]:
        """All members."""
        return tuple(turn.member for turn in self._turns.values())

    @property
    def size(self) -> int:
        """How many members there are."""
        return len(self._turns)

    def add(self, member: T) -> None:
        """Let ``member`` take turns; do nothing if it does."""
        if id(member) not in self._turns:
            turn = self._turns[id(member)] = Turn(self, member)
            turn.join()

    def remove(self, member: T) -> None:
        """Undo `add`; do nothing if there was none."""
        turn = self._turns.pop(id(member), None)
        if turn is not None:
            turn.leave()

    def pick(self) -> T:
        """Return the member whose turn it is.

        Raises:
            LookupError: No member takes turns.
        """
        member = self.pick_free(lambda member, turn: True)
        if member is None:
            raise LookupError(f"no member of the queue group {self.name} takes turns")
        return member

    def pick_free(self, is_free: Callable[[T, Turn[T]], bool]) -> T | None:
        """Return the next member in turn that is free, or None.

        Args:
            is_free: Called with a member and its turn. If it returns False, the member takes no more turns
                until its turn joins again. So a member that is not free is looked at once, and not each time.
        """
        while (turn := self.turn) is not None:
            if is_free(turn.member, turn):
                self.turn = turn.after
                return turn.member
            turn.leave()
        return None


class _MergedGroup(QueueGroup[T]):
    """The members of groups of one name, which have different patterns that match one subject."""

    __slots__ = ("__weakref__", "_picked")

    def __init__(self, parts: tuple[QueueGroup[T], ...]) -> None:
        super().__init__(parts[0].name)
        # How many times a member of each group was picked.
        self._picked = dict.fromkeys(parts, 0)

    @property
    def members(self) -> tuple[T, ...]:
        return tuple(member for part in self._picked for member in part.members)

    @property
    def size(self) -> int:
        return sum(part.size for part in self._picked)

    def pick_free(self, is_free: Callable[[T, Turn[T]], bool]) -> T | None:
        # First from the group whose members had the fewest turns.
        for part in sorted(self._picked, key=lambda part: self._picked[part] / max(1, part.size)):
            target = part.pick_free(is_free)
            if target is not None:
                self._picked[part] += 1
                return target
        return None


@attrs.frozen
class Route(Generic[T]):
    """Where the frames of one subject go: to every target, and to one member of every group."""

    targets: tuple[T, ...]
    groups: tuple[QueueGroup[T], ...]


@attrs.define
class _Node(Generic[T]):
    children: dict[str, _Node[T]] = attrs.field(factory=dict)
    # Targets outside of queue groups, by identity: a change costs the same however many there are.
    singles: dict[int, T] = attrs.field(factory=dict)
    # The same as a tuple, while they have not changed.
    targets: tuple[T, ...] = ()
    # Queue groups by name, while they have members.
    groups: dict[str, QueueGroup[T]] = attrs.field(factory=dict)


class SubjectTable(Generic[T]):
    """Maps patterns to targets, and subjects to the targets they reach.

    Attributes:
        cached: The routes that `route` returned, by subject, as long as no change of the table concerns them.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.cached: dict[str, Route[T]] = {}
        self._cached_targets = 0
        # The subjects of the cached routes by their last token, to find those that a pattern matches.
        self._by_last: dict[str, set[str]] = {}
        # Subjects that reach the same groups share a merged one, so that its members take turns for all. It
        # lives as long as their routes.
        self._merged: WeakValueDictionary[tuple[QueueGroup[T], ...], _MergedGroup[T]] = WeakValueDictionary()

    def add(self, pattern: str, target: T, queue_group: str | None = None) -> None:
        """Route the frames of ``pattern`` to ``target``, alone or as a member of a queue group.

        Members of one group share its frames even if their patterns differ.

        Raises:
            SynapseError: The pattern or the name of the queue group is malformed.
        """
        check_pattern(pattern, queue_group)
        node = self._root
        for token in pattern.split("."):
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node()
            node = child
        if queue_group is None:
            node.singles[id(target)] = target
            node.targets = ()
        elif (group := node.groups.get(queue_group)) is not None:
            # The routes to the group have it as a member from now on.
            group.add(target)
            return
        else:
            node.groups[queue_group] = QueueGroup(queue_group)
            node.groups[queue_group].add(target)
        self._remove_routes(pattern)

    def remove(self, pattern: str, target: T, queue_group: str | None = None) -> bool:
        """Undo `add` with the same arguments; do nothing if there was none.

        Returns:
            Whether the queue group has other members with this pattern.
        """
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            child = path[-1].children.get(token)
            if child is None:
                return False
            path.append(child)
        node = path[-1]
        if queue_group is None:
            node.singles.pop(id(target), None)
            node.targets = ()
        elif (group := node.groups.get(queue_group)) is not None:
            group.remove(target)
            if group.size:
                return True
            del node.groups[queue_group]
        for parent, token in zip(reversed(path[:-1]), reversed(tokens), strict=True):
            child = parent.children[token]
            if child.singles or child.groups or child.children:
                break
            del parent.children[token]
        self._remove_routes(pattern)
        return False

    def route(self, subject: str) -> Route[T]:
        """Return where a frame on ``subject`` goes. It is the same object until that changes.

        Raises:
            SynapseError: The subject is malformed; only patterns may have wildcards.
        """
        return self.cached.get(subject) or self._resolve(subject)

    def group(self, subject: str, name: str) -> QueueGroup[T] | None:
        """Return the members of a queue group that a frame on ``subject`` reaches; None if there are none.

        It costs the same however many other groups there are.
        """
        nodes = _matching(self._root, subject.split("."), 0)
        parts = [group for node in nodes if (group := node.groups.get(name)) is not None]
        return self._merge(parts) if parts else None

    def _resolve(self, subject: str) -> Route[T]:
        tokens = check_subject(subject).split(".")
        targets: list[T] = []
        groups: dict[str, list[QueueGroup[T]]] = {}
        for node in _matching(self._root, tokens, 0):
            if node.singles and not node.targets:
                node.targets = tuple(node.singles.values())
            targets += node.targets
            for name, group in node.groups.items():
                groups.setdefault(name, []).append(group)
        count = len(targets)
        if len(self.cached) >= MAX_CACHED_ROUTES or self._cached_targets + count > MAX_CACHED_TARGETS:
            self._clear_cache()
        self._cached_targets += count
        route = Route(tuple(targets), tuple(map(self._merge, groups.values())))
        self.cached[subject] = route
        self._by_last.setdefault(tokens[-1], set()).add(subject)
        return route

    def _merge(self, parts: list[QueueGroup[T]]) -> QueueGroup[T]:
        if len(parts) == 1:
            return parts[0]
        key = tuple(parts)
        merged = self._merged.get(key)
        if merged is None:
            merged = self._merged[key] = _MergedGroup(key)
        return merged

    def _remove_routes(self, pattern: str) -> None:
        """Remove the cached routes of the subjects that a pattern matches."""
        last = pattern.rpartition(".")[2]
        if "*" not in pattern and last != ">":
            found = [pattern] if pattern in self.cached else []
        elif last in {"*", ">"} or len(self._by_last.get(last, ())) > MAX_COMPARED:
            self._clear_cache()
            return
        else:
            found = [subject for subject in self._by_last.get(last, ()) if matches(pattern, subject)]
        for subject in found:
            self._cached_targets -= len(self.cached.pop(subject).targets)
            subjects = self._by_last[last]
            subjects.remove(subject)
            if not subjects:
                del self._by_last[last]

    def _clear_cache(self) -> None:
        self.cached.clear()
        self._by_last.clear()
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
