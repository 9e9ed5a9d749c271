"""Being told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def end_signals() -> Iterator[asyncio.Event]:
    """Yield what is set by the first SIGTERM or Ctrl-C. A second one ends the process as it always would."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def let_go() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def end() -> None:
        let_go()
        ended.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        yield ended
    finally:
        let_go()
