"""Reading lines from stdin while other things go on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import cached_property
from typing import BinaryIO, Final

from cosmo_core_cli.failing import Mistake

MAX_LINE: Final = 1024 * 1024
"""Bytes of a line; no Synapse carries much more."""


class StdinLines:
    """Gives the lines of stdin one by one, without holding up the event loop.

    A thread reads each line when it is asked for. It is a daemon, and so a read that is under way keeps
    nobody from ending: not Ctrl-C, and not the interpreter.
    """

    @cached_property
    def _stdin(self) -> BinaryIO:
        # For as long as the process lives. In the end, the interpreter would wait for who reads sys.stdin.
        return open(0, "rb", closefd=False)

    async def next(self) -> str | None:
        """Return the next line without its end; None after the last.

        Raises:
            Mistake: The line is too long, or not UTF-8.
        """
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()

        def give(data: bytes) -> None:
            if not line.done():
                line.set_result(data)

        def read() -> None:
            data = self._stdin.readline(MAX_LINE + 1)
            # A loop that is closed by then has nobody who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(give, data)

        threading.Thread(target=read, daemon=True).start()
        return _text(await line)


def _text(data: bytes) -> str | None:
    if len(data) > MAX_LINE:
        raise Mistake(f"a line of stdin has more than {MAX_LINE} bytes")
    try:
        return data.decode().rstrip("\r\n") if data else None
    except UnicodeDecodeError as error:
        raise Mistake(f"stdin is not UTF-8: {error.reason}") from None
