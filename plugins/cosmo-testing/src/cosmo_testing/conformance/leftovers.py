"""Detection of resource leaks: threads, sockets and child processes."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any, Final

LINGER_S: Final = 5.0
"""Seconds that a thread may take to end."""


def living() -> set[Any]:
    """Return all running threads, open sockets and child processes that were not awaited."""
    # The garbage collector knows every one; a list of file descriptors would not tell what they are.
    tracked = gc.get_objects()
    sockets = {each for each in tracked if issubclass(type(each), socket.socket) and each.fileno() != -1}
    children = {each for each in tracked if issubclass(type(each), Popen) and each.returncode is None}
    return {*threading.enumerate(), *sockets, *children}


@contextmanager
def leftovers() -> Iterator[list[str]]:
    """Collect descriptions of what was opened in the context and is still open at its end.

    The list is filled when the context ends.
    """
    found: list[str] = []
    # Otherwise garbage from before would be reported.
    gc.collect()
    before = living()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ResourceWarning)
        yield found
        gc.collect()
    found += [str(warning.message) for warning in heard if issubclass(warning.category, ResourceWarning)]
    for each in living() - before:
        if isinstance(each, threading.Thread):
            each.join(LINGER_S)
            if not each.is_alive():
                continue
        found.append(repr(each))
