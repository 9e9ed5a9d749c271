"""The sender of replies: answers, deltas and errors go to the sender of the TASK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.axon import Emitter, error_reply
from cosmo_core.contracts.boundary import described, logger
from cosmo_core.contracts.clarification import ASKING_TYPES
from cosmo_core.contracts.delivery import failed
from cosmo_core.dendrite.reliability.redelivery import RedeliveryBuffer
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import CosmoError, FrameTooLargeError, SynapseError, UnencodableError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import AXON_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import Dropped, ErrorInfo

# Named once: up to Python 3.11, looking up an enum's member costs as much as a call.
_AGENT_OUTPUT: Final = SignalType.AGENT_OUTPUT

ErrorInfoHook = Callable[[BaseException, Signal], "ErrorInfo | None"]


class ReplySender:
    """Sends the replies of one Dendrite: it is the `AxonPort` of its Axons.

    Args:
        link: The link to the Synapse.
        error_info: Calls the plugins' hook that maps an exception to an ERROR.
        expose_errors: Whether the text of an unexpected exception is sent to the caller.
        neuron_asks: Called with a question of a Neuron before it is sent.
    """

    def __init__(
        self,
        link: Link,
        *,
        error_info: ErrorInfoHook,
        expose_errors: bool,
        neuron_asks: Callable[[Signal], Awaitable[None]],
    ) -> None:
        self._redelivery = None if link.guarantees.takeover_s is None else RedeliveryBuffer(link)
        self._link = link
        self._error_info = error_info
        self._expose_errors = expose_errors
        self._neuron_asks = neuron_asks
        # Replies that are sent in the background; at most as many as the backlogs hold.
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> set[asyncio.Task[None]]:
        """The replies that are being sent in the background."""
        return self._sending if self._redelivery is None else self._sending.union(self._redelivery.pending)

    @property
    def redelivers(self) -> bool:
        """Whether answers are stored and sent again, as the Synapse redelivers TASKs of lost workers."""
        return self._redelivery is not None

    def repeat(self, task_id: str) -> Awaitable[None] | None:
        """Send the answer of a TASK again; None if it is not stored."""
        return None if self._redelivery is None else self._redelivery.repeat(task_id)

    def stop_redelivery(self) -> None:
        """Send no answer again from now on, as the host stops."""
        if self._redelivery is not None:
            self._redelivery.stop()

    def spawn(self, sending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Send a reply in the background."""
        task = asyncio.get_running_loop().create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return task

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and not isinstance(task.exception(), SynapseError | None):
            logger.error("a reply could not be sent", exc_info=task.exception())

    # --- AxonPort -----------------------------------------------------------------------------------

    def emitter(self, task: Signal, type: SignalType) -> Emitter:
        """Return a function that sends Signals of a type to the sender of ``task``."""
        if type not in AXON_TYPES:
            raise ValueError(f"an Axon may not produce {type.value}")
        return partial(self._link.begin_send, self.subject(task, type))

    def error_payload(self, error: BaseException, task: Signal) -> dict[str, Any]:
        """Return the payload of the ERROR for an exception: a plugin's, that of its code, or its type."""
        info = self._error_info(error, task)
        if info is not None:
            return {"code": info.code, "message": info.message, "recoverable": info.recoverable}
        if isinstance(error, CosmoError) and (code := getattr(error, "code", None)) is not None:
            # The core's own error, such as that of a Neuron which this one asked, has no private text.
            message = getattr(error, "message", str(error))
            return {"code": code, "message": message, "recoverable": getattr(error, "recoverable", True)}
        name = type(error).__name__
        text = described(error) if self._expose_errors else f"{name}; see {task.id} in the worker's log"
        return {"code": "NEURON_ERROR", "message": text, "recoverable": False}

    # --- replies ------------------------------------------------------------------------------------

    def begin_send(self, task: Signal, answer: Signal) -> Awaitable[None] | None:
        """Send the Signal that ends ``task`` as `send` does; None if that is done."""
        if answer.type is not _AGENT_OUTPUT or "finalize" in task.payload:
            return self.send(task, answer)
        sending = self._begin(task, answer)
        return None if sending is None else self._finish(task, answer, sending)

    def _begin(
        self, task: Signal, answer: Signal, skip_role_check: bool = False
    ) -> Awaitable[Dropped | None] | None:
        """Send the Signal that ends ``task``; None if that is done. What fails is raised when awaited."""
        try:
            subject = self._link.subjects.reply(answer.type, task.meta.get("reply_to"))
            if self._redelivery is None:
                return self._link.begin_send(subject, answer, skip_role_check)
            return self._redelivery.begin_send(task, subject, answer, skip_role_check)
        except Exception as error:  # noqa: BLE001 - handled where it is awaited
            return failed(error)

    async def send(self, task: Signal, answer: Signal, skip_role_check: bool = False) -> None:
        """Send the Signal that ends ``task``, or an ERROR in its place if it cannot be sent.

        An AGENT_OUTPUT is followed by FINAL if the TASK asks for it; no role forbids that.

        Raises:
            SynapseError: The answer could not be sent, and the Synapse redelivers a TASK without one.
        """
        if answer.type in ASKING_TYPES:
            await self._neuron_asks(answer)
        await self._finish(task, answer, self._begin(task, answer, skip_role_check))

    async def _finish(self, task: Signal, answer: Signal, sending: Awaitable[Dropped | None] | None) -> None:
        """Await the answer, and send what follows it or takes its place."""
        try:
            dropped = None if sending is None else await sending
        except (UnencodableError, FrameTooLargeError) as error:
            await self.send(task, _unsendable_error(task, answer, error))
        except SynapseError:
            logger.exception("the answer to %s could not be sent", task.id)
            if self._redelivery is not None:
                raise
        except Exception:
            logger.exception("an outbound middleware failed on the answer to %s", task.id)
            if answer.type is not SignalType.ERROR:
                await self.reject(task, "a middleware of the worker failed on the answer")
        else:
            if dropped is not None:
                if answer.type is not SignalType.ERROR:
                    await self.reject(task, f"a middleware dropped the answer: {dropped.reason}")
            elif "finalize" in task.payload and _asks_for_final(task, answer):
                final = answer.reply(SignalType.FINAL, {"result": answer.payload["output"]})
                await self.send(task, final, True)

    async def reject(self, task: Signal, reason: str) -> None:
        """Answer a TASK with ERROR ``REJECTED``."""
        await self.send(task, error_reply(task, "REJECTED", reason, recoverable=False))

    async def reply(self, request: Signal, type: SignalType, payload: dict[str, Any], host: str) -> None:
        """Answer a request other than a TASK, with the id of this Dendrite; a failure is logged."""
        answer = request.reply(type, payload, meta={"dendrite": host})
        try:
            await self._link.send(self.subject(request, type), answer)
        except SynapseError as error:
            logger.warning("%s was not answered with %s: %s", request.id, type.value, error)
        except Exception:
            logger.exception("an outbound middleware failed on the %s to %s", type.value, request.id)

    def subject(self, request: Signal, type: SignalType) -> str:
        """Return the subject of a reply: the inbox of the requester, or the broadcast subject without one."""
        return self._link.subjects.reply(type, request.meta.get("reply_to"))


def _unsendable_error(task: Signal, answer: Signal, error: Exception) -> Signal:
    message = str(error)
    if isinstance(error, FrameTooLargeError) and answer.type in ASKING_TYPES:
        message += f"; a {answer.type.value} carries the input of its TASK"
    return error_reply(task, "OUTPUT_INVALID", message, recoverable=False)


def _asks_for_final(task: Signal, answer: Signal) -> bool:
    return bool(task.payload["finalize"]) and answer.type is SignalType.AGENT_OUTPUT
