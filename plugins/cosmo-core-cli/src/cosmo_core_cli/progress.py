"""Spinner on stderr for a step that takes longer than a second."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, Self

from cosmo_core_cli.output import one_line

if TYPE_CHECKING:
    from rich.status import Status

DELAY_S: Final = 1.0
"""Seconds before the spinner appears."""


class Progress:
    """Context manager that shows a `rich` status on stderr after `DELAY_S`, if stderr is a terminal.

    `rich` itself has no delay: without one, every quick command would flash a spinner and would pay for the
    import of `rich`. Call `stop` before anything else is printed.

    Args:
        text: What the program waits for.
    """

    def __init__(self, text: str) -> None:
        self._text = one_line(text)
        self._lock = threading.Lock()
        self._stopped = False
        self._status: Status | None = None
        self._timer = threading.Timer(DELAY_S, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the spinner. Calling it twice is not an error."""
        self._timer.cancel()
        with self._lock:
            self._stopped = True
            status, self._status = self._status, None
        if status is not None:
            status.stop()

    def _show(self) -> None:
        # Imported on use: most commands end before the delay.
        from rich.console import Console
        from rich.markup import escape

        with self._lock:
            if not self._stopped:
                self._status = Console(stderr=True).status(escape(self._text))
                self._status.start()
