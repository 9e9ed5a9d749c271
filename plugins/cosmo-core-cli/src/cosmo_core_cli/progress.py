"""Showing that something goes on, when it takes longer than a second."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, Self

from cosmo_core_cli.words import one_line

if TYPE_CHECKING:
    from rich.status import Status

PATIENCE_S: Final = 1.0
"""After how many seconds people want to know what they wait for."""


class Progress:
    """While it is entered, and after `PATIENCE_S`, a spinner says on stderr what is waited for.

    There is none where stderr is no terminal. `stop` ends it early, before anything else is printed.

    Args:
        text: What is waited for.
    """

    def __init__(self, text: str) -> None:
        self._text = one_line(text)
        self._turn = threading.Lock()
        self._stopped = False
        self._status: Status | None = None
        self._timer = threading.Timer(PATIENCE_S, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Show nothing any more. Doing it twice is not an error."""
        self._timer.cancel()
        with self._turn:
            self._stopped = True
            status, self._status = self._status, None
        if status is not None:
            status.stop()

    def _show(self) -> None:
        # Imported on use: most commands are done before.
        from rich.console import Console
        from rich.markup import escape

        with self._turn:
            if not self._stopped:
                self._status = Console(stderr=True).status(escape(self._text))
                self._status.start()
