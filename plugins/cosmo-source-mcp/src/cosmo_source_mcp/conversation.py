"""What a server says during a call: notes for the caller, and questions, which the TASK asks back."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

from mcp.types import ElicitRequestURLParams, ElicitResult

from cosmo_core import clarify
from cosmo_core.errors import NeuronError
from cosmo_llm import INPUT_INVALID
from cosmo_source_mcp.limits import MAX_NOTE_CHARS, MAX_WAITING_NOTES
from cosmo_source_mcp.schema import mismatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mcp.types import ElicitRequestParams, LoggingMessageNotificationParams

    from cosmo_core import AskBack

Action = Literal["accept", "decline", "cancel"]

_ACTIONS: Final = ("accept", "decline", "cancel")
_current: Final[contextvars.ContextVar[Conversation | None]] = contextvars.ContextVar(
    "cosmo_source_mcp_conversation", default=None
)


class Conversation:
    """What a server says and asks during one call, and the answers of the caller.

    Args:
        answers: Questions that were asked before, with their answers: ``{"question": …, "answer": …}``.
        notes: Takes what the server says, if the caller wants that.

    Attributes:
        notes: The same.
    """

    def __init__(self, answers: Sequence[dict[str, Any]] = (), notes: Notes | None = None) -> None:
        self.notes = notes
        self._answers = list(answers)
        self._asked: list[tuple[ElicitRequestParams, asyncio.Future[ElicitResult]]] = []
        self._failure: NeuronError | None = None
        self._changed = asyncio.Event()

    @staticmethod
    def current() -> Conversation | None:
        """The conversation that the running asyncio task belongs to, if that is known."""
        return _current.get()

    def context(self) -> contextvars.Context:
        """A context for an asyncio task that belongs to this conversation."""
        context = contextvars.copy_context()
        context.run(_current.set, self)
        return context

    @property
    def is_asking(self) -> bool:
        """Whether the server waits for an answer."""
        return bool(self._asked)

    async def question(self) -> AskBack:
        """Wait until the server asks what has no answer yet, and return the question.

        Raises:
            NeuronError: An answer does not match what the server asked for.
        """
        while not self._asked and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        params, _ = self._asked[0]
        return clarify(params.message, _details(params))

    def answer(self, answers: Sequence[dict[str, Any]]) -> bool:
        """Answer the question that waits, and return whether the answers hold one for it.

        Raises:
            NeuronError: The answer does not match what the server asked for.
        """
        params, waiting = self._asked[0]
        found = [entry for entry in answers if entry["question"] == params.message]
        if found:
            waiting.set_result(_result(found[-1].get("answer"), params))
            del self._asked[0]
        return bool(found)

    def end(self) -> None:
        """Cancel the questions that wait."""
        for _, waiting in self._asked:
            if not waiting.done():
                waiting.set_result(ElicitResult(action="cancel"))
        self._asked.clear()

    async def elicit(self, params: ElicitRequestParams) -> ElicitResult:
        """Return the answer to a question of the server, which may take long."""
        for entry in self._answers:
            if entry["question"] == params.message:
                self._answers.remove(entry)
                try:
                    return _result(entry.get("answer"), params)
                except NeuronError as error:
                    self._failure = error
        waiting: asyncio.Future[ElicitResult] = asyncio.get_running_loop().create_future()
        self._asked.append((params, waiting))
        self._changed.set()
        try:
            return await waiting
        finally:
            self._asked = [asked for asked in self._asked if asked[1] is not waiting]

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Note the progress of the call."""
        if self.notes is not None:
            share = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
            self.notes.add(f"{share}: {message}" if message else share)

    def log(self, params: LoggingMessageNotificationParams) -> None:
        """Note a message of the server's log."""
        if self.notes is not None:
            data = params.data if isinstance(params.data, str) else json.dumps(params.data)
            logger = f" {params.logger}" if params.logger else ""
            self.notes.add(f"[{params.level}{logger}] {data}")


class Notes:
    """The notes of a server that wait to be sent. One too many replaces the oldest."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING_NOTES)
        self._changed = asyncio.Event()

    def add(self, text: str) -> None:
        """Add a note; a long one is cut."""
        self._waiting.append(text if len(text) <= MAX_NOTE_CHARS else text[: MAX_NOTE_CHARS - 1] + "…")
        self._changed.set()

    async def until(self, task: asyncio.Task[Any]) -> AsyncIterator[str]:
        """The notes, one per line, until a task is done."""
        task.add_done_callback(lambda _: self._changed.set())
        while not task.done() or self._waiting:
            while self._waiting:
                yield self._waiting.popleft() + "\n"
            self._changed.clear()
            if not task.done():
                await self._changed.wait()


def read_answer(answer: Any, params: ElicitRequestParams) -> ElicitResult:
    """Read the answer to a clarification as the result of an elicitation.

    Args:
        answer: ``{"action": "accept" | "decline" | "cancel", "content": {…}}``; or the content alone; or true
            for accept, false or null for decline; or, if one value is asked for, that value. What the content
            leaves out gets its default.
        params: What the server asked.

    Raises:
        ValueError: The content does not match what the server asked for.
    """
    action: Action = "accept"
    content = answer
    if isinstance(answer, dict) and answer.get("action") in _ACTIONS and set(answer) <= {"action", "content"}:
        action, content = answer["action"], answer.get("content")
    elif answer is None or answer is False:
        action = "decline"
    if isinstance(params, ElicitRequestURLParams) or action != "accept":
        return ElicitResult(action=action)
    properties = params.requested_schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if content is None or content is True:
        content = {}
    elif not isinstance(content, dict) and len(properties) == 1:
        content = {next(iter(properties)): content}
    elif not isinstance(content, dict):
        raise ValueError(f"an object of {', '.join(map(repr, properties))} is needed")
    defaults = {
        name: part["default"]
        for name, part in properties.items()
        if isinstance(part, dict) and "default" in part
    }
    content = {**defaults, **content}
    if reason := mismatch(content, params.requested_schema, "answer"):
        raise ValueError(reason)
    return ElicitResult(action="accept", content=content)


def _result(answer: Any, params: ElicitRequestParams) -> ElicitResult:
    try:
        return read_answer(answer, params)
    except ValueError as error:
        reason = f"the answer to {params.message!r} cannot be sent: {error}"
    raise INPUT_INVALID.error(reason)


def _details(params: ElicitRequestParams) -> dict[str, Any]:
    """The context of the clarification: where to go, or the schema of the answer."""
    if isinstance(params, ElicitRequestURLParams):
        return {"mode": "url", "url": params.url}
    return {"mode": "form", "schema": params.requested_schema}
