"""What leaves a host: the Signals that answer TASKs, to whoever asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.axon import error_reply
from cosmo_core.contracts.clarification import ASKING_TYPES
from cosmo_core.dendrite.reliability.redelivery import RedeliveryBuffer
from cosmo_core.dendrite.transport.link import Link
from cosmo_core.errors import FrameTooLargeError, SynapseError, UnencodableError
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import AXON_TYPES, SignalType

if TYPE_CHECKING:
    from cosmo_core.plugins import ErrorInfo

ErrorInfoHook = Callable[[Exception, Signal], "ErrorInfo | None"]

logger = logging.getLogger("cosmo_core.dendrite")


class ReplySender:
    """Sends what answers the TASKs of one Dendrite.

    Args:
        link: The way to the bus.
        error_info: Asks the plugins what an exception means.
        expose_errors: Whether the text of an unexpected exception may travel.
    """

    def __init__(self, link: Link, *, error_info: ErrorInfoHook, expose_errors: bool) -> None:
        self._redelivery = None if link.guarantees.takeover_s is None else RedeliveryBuffer(link)
        self._link = link
        self._error_info = error_info
        self._expose_errors = expose_errors
        # Replies that no Neuron's own task sends; no more than fit into the backlogs.
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> set[asyncio.Task[None]]:
        """What is being sent in the background."""
        return self._sending if self._redelivery is None else self._sending.union(self._redelivery.pending)

    @property
    def redelivers(self) -> bool:
        """Whether answers are kept, as the Synapse gives the TASKs of a lost worker to another one."""
        return self._redelivery is not None

    def repeat(self, task_id: str) -> Awaitable[None] | None:
        """Send the answer of a TASK again; None if it is not known any more, or none is kept."""
        return None if self._redelivery is None else self._redelivery.repeat(task_id)

    def give_up(self) -> None:
        """Send nothing again from now on, as the host stops."""
        if self._redelivery is not None:
            self._redelivery.give_up()

    def spawn(self, sending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Send in the background."""
        task = asyncio.get_running_loop().create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    # --- what an Axon may ask -----------------------------------------------------------------------

    async def emit(self, task: Signal, signal: Signal) -> None:
        """Send a Signal of an Axon to whoever asked for ``task``."""
        if signal.type not in AXON_TYPES:
            raise ValueError(f"an Axon may not produce {signal.type.value}")
        await self._link.send(self.subject(task, signal.type), signal)

    def error_payload(self, error: Exception, task: Signal) -> dict[str, Any]:
        """Return what may be told of an exception: what a plugin says of it, or little more than its type."""
        info = self._error_info(error, task)
        if info is not None:
            return {"code": info.code, "message": info.message, "recoverable": info.recoverable}
        name = type(error).__name__
        text = (
            f"{name}: {error}" if self._expose_errors else f"{name}; the worker's log has it under {task.id}"
        )
        return {"code": "NEURON_ERROR", "message": text, "recoverable": False}

    # --- what ends a TASK ---------------------------------------------------------------------------

    async def send(self, task: Signal, answer: Signal, promoted: bool = False) -> None:
        """Send what ends ``task``; what cannot be sent is told in an ERROR.

        An AGENT_OUTPUT is followed by FINAL if the TASK asks for it: that one is ``promoted``.
        """
        try:
            subject = self._link.subjects.reply(answer.type, task.meta.get("reply_to"))
            if self._redelivery is None:
                dropped = await self._link.send(subject, answer, promoted)
            else:
                dropped = await self._redelivery.send(task, subject, answer, promoted)
        except (UnencodableError, FrameTooLargeError) as error:
            await self.send(task, _unsendable(task, answer, error))
        except SynapseError:
            logger.exception("the answer to %s could not be sent", task.id)
        except Exception:
            logger.exception("an outbound middleware failed on the answer to %s", task.id)
            if answer.type is not SignalType.ERROR:
                await self.reject(task, "a middleware of the worker failed on the answer")
        else:
            if dropped is not None:
                if answer.type is not SignalType.ERROR:
                    await self.reject(task, f"a middleware dropped the answer: {dropped.reason}")
            elif "finalize" in task.payload and _is_promoted(task, answer):
                final = answer.reply(SignalType.FINAL, {"result": answer.payload["output"]})
                await self.send(task, final, True)

    async def reject(self, task: Signal, reason: str) -> None:
        """Answer with ERROR ``REJECTED``."""
        await self.send(task, error_reply(task, "REJECTED", reason, recoverable=False))

    async def reply(self, request: Signal, type: SignalType, payload: dict[str, Any], host: str) -> None:
        """Answer a request that is no TASK, naming this Dendrite; a bus that is gone is logged."""
        answer = request.reply(type, payload, meta={"dendrite": host})
        try:
            await self._link.send(self.subject(request, type), answer)
        except SynapseError as error:
            logger.warning("%s was not answered with %s: %s", request.id, type.value, error)
        except Exception:
            logger.exception("an outbound middleware failed on the %s to %s", type.value, request.id)

    def subject(self, request: Signal, type: SignalType) -> str:
        """Return where an answer of a type goes: to who asked, or to everybody if that is not said."""
        return self._link.subjects.reply(type, request.meta.get("reply_to"))


def _unsendable(task: Signal, answer: Signal, error: Exception) -> Signal:
    message = str(error)
    if isinstance(error, FrameTooLargeError) and answer.type in ASKING_TYPES:
        message += f"; a {answer.type.value} carries the input of its TASK, so that anybody can respond"
    return error_reply(task, "OUTPUT_INVALID", message, recoverable=False)


def _is_promoted(task: Signal, answer: Signal) -> bool:
    return bool(task.payload["finalize"]) and answer.type is SignalType.AGENT_OUTPUT
