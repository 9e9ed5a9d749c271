"""The nine context Neurons of this package, and `ListNeuron`, the base class of those that list items."""

from __future__ import annotations

import platform
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import takewhile
from types import MappingProxyType
from typing import Any, ClassVar, Self

from cosmo_context.context import Context
from cosmo_context.data import Mark, data, marker
from cosmo_context.errors import ContextNeuronError, StateShapeError
from cosmo_context.messages import SYSTEM_ROLES, call_text, content_text, other_parts
from cosmo_context.neuron import REQUIRED, Fits, Stability, StateNeuron


class TaskNeuron(StateNeuron):
    """The task: its id, and ``task_input``, ``task_output`` and ``subtasks`` (strings, the plan)."""

    importance = REQUIRED

    def __init__(self, name: str = "task", *, priority: float = 1) -> None:
        super().__init__(name, priority=priority)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Return the task between two tags, as a `Question` if there is one; never empty."""
        text = "\n".join(("<task_info>", *self._lines(ctx), "</task_info>"))
        task_input = ctx.state.get("task_input")
        return Question(text, other_parts(task_input)) if task_input else text

    def _lines(self, ctx: Context) -> Iterator[str]:
        yield f"Task ID: {data(ctx.task_id)}"
        if task_input := ctx.state.get("task_input"):
            yield f"Input: {data(content_text(task_input))}"
        if task_output := ctx.state.get("task_output"):
            yield f"Output: {data(content_text(task_output))}"
        if subtasks := ctx.state.get("subtasks"):
            yield "Plan:"
            for number, step in enumerate(_as_list(self.name, "subtasks", subtasks), 1):
                yield f"  <step{number}>{data(step)}</step{number}>"


class ListNeuron(StateNeuron):
    """A context Neuron that lists the items under one key of the state between two tags, one line per item.

    It shortens its fragment by listing fewer items: the first ones, unless a subclass overrides `kept`.

    Attributes:
        key: The key of the state.
        tag: The name of the tags.
    """

    key: ClassVar[str]
    tag: ClassVar[str]

    @abstractmethod
    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return one line per item."""

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        """Return the items to list.

        Raises:
            StateShapeError: The value is not a list.
        """
        return _as_list(self.name, self.key, ctx.state.get(self.key))

    def kept(self, items: Sequence[Any], count: int) -> Sequence[Any]:
        """Return the ``count`` items to list if not all of them fit."""
        return items[:count]

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Return the list of items; ``""`` if there are none.

        Raises:
            StateShapeError: The value is not a list, or an item is not a mapping although it must be.
        """
        items = self.items(ctx, **kwargs)
        try:
            return self.listing(items)
        except AttributeError as error:
            if error.name == "get":
                self._raise_for_item(error.obj, ctx, items)
            raise

    def listing(self, items: Sequence[Any]) -> str:
        """Return the lines of the items between the tags; ``""`` if there are no items."""
        if not items:
            return ""
        return "\n".join((f"<{self.tag}>", *self.lines(items), f"</{self.tag}>"))

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        """Return a list of as many items as fit."""
        items = self.items(ctx, **kwargs)
        fitting, too_many = 0, len(items)
        while too_many - fitting > 1:
            count = (fitting + too_many) // 2
            if fits(self.listing(self.kept(items, count))):
                fitting = count
            else:
                too_many = count
        text = self.listing(self.kept(items, fitting))
        return text if fitting or fits(text) else ""

    def _raise_for_item(self, item: object, ctx: Context, items: Sequence[Any]) -> None:
        index = next((index for index, candidate in enumerate(items) if candidate is item), None)
        if index is None:
            return
        value = ctx.state.get(self.key)
        # The items may be only the end of the list in the state; the index must refer to the whole list.
        before = len(value) - len(items) if isinstance(value, Sequence) else 0
        if before > 0 and value[before + index] is item:
            index += before
        raise StateShapeError(self.name, self.key, "a mapping", item, index)


class TodoNeuron(ListNeuron):
    """Lists tasks to do: ``todos``, mappings with ``item`` and ``done``."""

    key = "todos"
    tag = "todo_list"
    importance = 90

    def __init__(self, name: str = "todo", *, priority: float = 2) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return each item after a box, which is ticked if the item is done."""
        data = marker()
        return [
            f"  [{'x' if todo.get('done', False) else ' '}] {data(todo.get('item', ''))}" for todo in items
        ]


class Conversation(str):
    """A fragment that also has its chat messages, for `Rendered.to_messages`."""

    __slots__ = ("messages",)

    messages: tuple[Mapping[str, Any], ...]

    def __new__(cls, text: str, messages: Iterable[Mapping[str, Any]]) -> Self:
        """Make a fragment from its text and its messages."""
        conversation = super().__new__(cls, text)
        conversation.messages = tuple(messages)
        return conversation


class Question(str):
    """A fragment that contains the user's question, with the parts of it that text cannot hold.

    `Rendered.to_messages` puts it last.
    """

    __slots__ = ("parts",)

    parts: tuple[Mapping[str, Any], ...]

    def __new__(cls, text: str, parts: Iterable[Mapping[str, Any]] = ()) -> Self:
        """Make a fragment from its text and the parts of the question that are not text."""
        question = super().__new__(cls, text)
        question.parts = tuple(parts)
        return question


class HistoryNeuron(ListNeuron):
    """Lists the last messages: ``history``, mappings with ``role`` and ``content``.

    The window has the last ``2 * ctx.config.history_rounds`` messages of all roles. A window, and a fragment
    that is shortened for a budget, also has the system messages at the beginning of the history. It does not
    start with the result of a tool, whose call would be missing. A history that ends with the result of a
    tool is kept from the last message of the user on, since the assistant is still answering it.

    With the option ``step``, which the cache layout sets, the start of the window moves by that many messages
    at a time, so that most prompts start with the same text as the one before. The window is never longer
    than without ``step``.
    """

    key = "history"
    tag = "conversation_history"
    stability = Stability.GROWING
    # The lowest of the nine, since shortening the history loses the least.
    importance = 10
    cache_options = MappingProxyType({"step": 20})

    def __init__(self, name: str = "history", *, priority: float = 10) -> None:
        super().__init__(name, priority=priority)

    def items(self, ctx: Context, *, step: int = 1, **kwargs: Any) -> Sequence[Any]:
        """Return the messages in the window. The time depends on the size of the window only."""
        history = _as_list(self.name, self.key, ctx.state.get(self.key))
        window = 2 * ctx.config.history_rounds
        surplus = len(history) - window
        if surplus <= 0:
            return history
        step = max(1, min(step, window))
        # Rounded up, so that the window is never longer than without `step`.
        return _cut(history, -(-surplus // step) * step)

    def kept(self, items: Sequence[Any], count: int) -> Sequence[Any]:
        """Return the last ``count`` messages, and those that must not be cut."""
        return _cut(items, len(items) - count)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``[role]: content`` of each."""
        data = marker()
        return [f"[{data(turn.get('role', 'unknown'))}]: {data(_said(turn))}" for turn in items]

    def listing(self, items: Sequence[Any]) -> str:
        """Return the messages as a `Conversation`."""
        text = super().listing(items)
        return Conversation(text, items) if text else ""


def _said(turn: Mapping[str, Any]) -> str:
    content, calls = turn.get("content", ""), turn.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return content_text(content)
    return "\n".join(([content_text(content)] if content else []) + list(map(call_text, calls)))


def never_cut(history: Sequence[Any]) -> Sequence[Any]:
    """Return the messages of a history that stay in every window."""
    return _cut(history, len(history))


def _cut(history: Sequence[Any], start: int) -> Sequence[Any]:
    """Return a history from a message on, and the messages before it that must not be cut."""
    system = list(takewhile(lambda message: _role(message) in SYSTEM_ROLES, history))
    after_results = (index for index in range(start, len(history)) if _role(history[index]) != "tool")
    start = min(next(after_results, start), _answering(history))
    return [*system[:start], *history[start:]]


def _answering(history: Sequence[Any]) -> int:
    """Return the index of the message of the user that the assistant is still answering; else the length."""
    if not history or _role(history[-1]) != "tool":
        return len(history)
    indexes = reversed(range(len(history)))
    last = next((index for index in indexes if _role(history[index]) not in {"assistant", "tool"}), None)
    return len(history) if last is None or _role(history[last]) != "user" else last


def _role(message: object) -> str:
    role = message.get("role") if isinstance(message, Mapping) else None
    return role if isinstance(role, str) else ""


class KnowledgeNeuron(ListNeuron):
    """Lists knowledge: ``knowledge_items``, mappings with ``source`` and ``content``."""

    key = "knowledge_items"
    tag = "knowledge"
    stability = Stability.SESSION
    importance = 60

    def __init__(self, name: str = "knowledge", *, priority: float = 20) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``[source]: content`` of each."""
        data = marker()
        return [
            f"  [{data(item.get('source', 'unknown'))}]: {data(item.get('content', ''))}" for item in items
        ]


class WorkspaceNeuron(ListNeuron):
    """Lists artifacts: ``workspace_artifacts``, mappings with ``name``, ``type`` and ``size`` in bytes."""

    key = "workspace_artifacts"
    tag = "workspace"
    stability = Stability.SESSION
    importance = 50

    def __init__(self, name: str = "workspace", *, priority: float = 30) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``name [type]`` of each, with the size if it is known."""
        data = marker()
        return [
            f"  {data(artifact.get('name', 'unnamed'))} [{data(artifact.get('type', 'file'))}]"
            f"{_size(artifact.get('size'), data)}"
            for artifact in items
        ]


def _size(size: object, data: Mark) -> str:
    return "" if size is None else f" ({data(size)} bytes)"


class SkillNeuron(ListNeuron):
    """Lists available skills: ``skills``, mappings with ``name``, ``description`` and ``active``."""

    key = "skills"
    tag = "available_skills"
    stability = Stability.STATIC
    importance = 70

    def __init__(self, name: str = "skill", *, priority: float = 40) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``- name: description`` of each, marked if it is inactive."""
        data = marker()
        return [
            f"  - {data(skill.get('name', 'unnamed'))}: {data(skill.get('description', ''))}"
            f"{'' if skill.get('active', True) else ' [inactive]'}"
            for skill in items
        ]


class FactNeuron(ListNeuron):
    """Lists facts: ``facts``, strings."""

    key = "facts"
    tag = "facts"
    importance = 40

    def __init__(self, name: str = "fact", *, priority: float = 50) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return each fact after a dash."""
        data = marker()
        return [f"  - {data(fact)}" for fact in items]


class EntityNeuron(ListNeuron):
    """Lists named entities: ``entities``, mappings with ``name`` and ``type``."""

    key = "entities"
    tag = "entities"
    importance = 30

    def __init__(self, name: str = "entity", *, priority: float = 60) -> None:
        super().__init__(name, priority=priority)

    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return ``name (type)`` of each."""
        data = marker()
        return [
            f"  {data(entity.get('name', 'unknown'))} ({data(entity.get('type', 'unknown'))})"
            for entity in items
        ]


class SystemNeuron(StateNeuron):
    """The date and time in UTC from the Context's clock, and the platform."""

    stability = Stability.VOLATILE
    importance = 20

    def __init__(self, name: str = "system", *, priority: float = 100) -> None:
        super().__init__(name, priority=priority)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Return them between two tags; never empty.

        Raises:
            ContextNeuronError: The clock returns a time without a time zone.
        """
        now = ctx.clock()
        if now.tzinfo is None:
            raise ContextNeuronError(self.name, "needs a clock that returns times with a time zone")
        now = now.astimezone(UTC)
        return (
            f"<system_info>\nCurrent date: {now:%Y-%m-%d}\nCurrent time: {now:%H:%M:%S} UTC\n"
            f"Platform: {platform.system()} {platform.release()}\n</system_info>"
        )


def _as_list(neuron: str, key: str, value: object) -> Sequence[Any]:
    """Return the value of a state key as a sequence. A falsy value counts as empty.

    Raises:
        StateShapeError: The value is a string or a mapping, or cannot be iterated.
    """
    if isinstance(value, (list, tuple)):
        return value
    if not value:
        return ()
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping)):
        raise StateShapeError(neuron, key, "a list", value)
    return list(value)
