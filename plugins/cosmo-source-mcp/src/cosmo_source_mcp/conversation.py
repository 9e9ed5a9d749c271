"""What a server says during a call: notes for the caller, and questions, which the TASK asks back."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

from mcp.types import ElicitRequestURLParams, ElicitResult

from cosmo_core import clarify
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
    """The answers that the caller of one TASK has given, and what the server says and asks meanwhile.

    Args:
        answers: The questions that were asked before, with their answers: ``{"question": …, "answer": …}``.
        notes: Takes what the server says, if the caller wants that.

    Attributes:
        question: Set when the server asks what has no answer yet.
    """

    def __init__(self, answers: Sequence[dict[str, Any]] = (), notes: Notes | None = None) -> None:
        self.notes = notes
        self.question: asyncio.Future[AskBack] = asyncio.get_running_loop().create_future()
        self._answers = list(answers)
        self._is_over = asyncio.Event()

    @staticmethod
    def current() -> Conversation | None:
        """The conversation that the running asyncio task belongs to, if that is known."""
        return _current.get()

    def context(self) -> contextvars.Context:
        """A context for an asyncio task that belongs to this conversation."""
        context = contextvars.copy_context()
        context.run(_current.set, self)
        return context

    def end(self) -> None:
        """End it: the call is over, and a question that has no answer is cancelled."""
        self._is_over.set()
        if not self.question.cancel() and not self.question.cancelled():
            self.question.exception()  # marks it as retrieved

    async def elicit(self, params: ElicitRequestParams) -> ElicitResult:
        """Answer a question of the server, or ask it back, which ends the call."""
        for entry in self._answers:
            if entry.get("question") == params.message:
                self._answers.remove(entry)
                return self._result(entry.get("answer"), params)
        if not self.question.done():
            self.question.set_result(clarify(params.message, _details(params)))
        await self._is_over.wait()
        return ElicitResult(action="cancel")

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

    def _result(self, answer: Any, params: ElicitRequestParams) -> ElicitResult:
        try:
            return read_answer(answer, params)
        except ValueError as error:
            reason = f"the answer to {params.message!r} cannot be sent: {error}"
        if not self.question.done():
            self.question.set_exception(INPUT_INVALID.error(reason))
        return ElicitResult(action="cancel")


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


def _details(params: ElicitRequestParams) -> dict[str, Any]:
    """The context of the clarification: where to go, or the schema of the answer."""
    if isinstance(params, ElicitRequestURLParams):
        return {"mode": "url", "url": params.url}
    return {"mode": "form", "schema": params.requested_schema}
