"""A text on the terminal that changes in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from cosmo_core_cli.words import printable


@contextmanager
def in_place() -> Iterator[Callable[[object], None]]:
    """Yield a function that shows something in place of what it showed before; the last one stays."""
    with Live(auto_refresh=False) as live:
        yield lambda shown: live.update(Text(printable(str(shown))), refresh=True)
