"""The boundary to code that others wrote: which of its exceptions pass, and which are contained."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Final

logger: Final = logging.getLogger("cosmo_core.dendrite")
"""The log of a Dendrite and of all that belongs to one: its Neurons, its handlers and its extensions."""


def must_pass(error: BaseException) -> bool:
    """Tell whether an exception must pass the boundary, rather than count as a failure of the called code.

    Those are SystemExit and KeyboardInterrupt, which end the process, and a cancellation of the calling
    asyncio task. Every other exception is contained, also one that is not an `Exception`, such as
    GeneratorExit, a panic of a Rust library, or a cancellation of something that the code awaited.
    """
    if isinstance(error, Exception | SystemExit | KeyboardInterrupt):
        return not isinstance(error, Exception)
    try:
        task = asyncio.current_task()
    except RuntimeError:
        # No event loop runs, so the collector closes a coroutine that was never finished.
        return isinstance(error, GeneratorExit)
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def as_exception(error: BaseException) -> Exception:
    """Return ``error``, or a RuntimeError in place of one that no future can carry or no caller expects."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapper = RuntimeError(f"raised {described(error)}")
    wrapper.__cause__ = error
    return wrapper


def described(error: BaseException) -> str:
    """Return the type and the text of an exception, also of one whose text cannot be read or encoded."""
    try:
        text = str(error).encode(errors="backslashreplace").decode()
    except BaseException:  # noqa: BLE001 - the method of a foreign class
        text = "its text cannot be read"
    return f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def logged_failures(message: str, *args: object) -> Iterator[None]:
    """Log a failure of the code in the context, and continue after it."""
    try:
        yield
    except BaseException as error:
        if must_pass(error):
            raise
        logger.exception(message, *args)
