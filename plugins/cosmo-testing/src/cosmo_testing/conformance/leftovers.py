"""What is open or running in this process, to be compared before and after."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from contextlib import contextmanager
from subprocess import Popen
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LINGER_S: Final = 1.0
"""For how long something that is about to end may take to do so."""


def living() -> set[Any]:
    """Every thread that runs, every socket that is open and every child process that was not awaited."""
    # The collector knows them all, whoever holds them; a list of descriptors would not say what they are.
    tracked = gc.get_objects()
    sockets = {each for each in tracked if issubclass(type(each), socket.socket) and each.fileno() != -1}
    children = {each for each in tracked if issubclass(type(each), Popen) and each.returncode is None}
    return {*threading.enumerate(), *sockets, *children}


@contextmanager
def leftovers() -> Iterator[list[str]]:
    """Collect, in words, what was opened inside and is left in the end; filled on the way out."""
    found: list[str] = []
    # What was dropped before would otherwise be found, and blamed, in here.
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
