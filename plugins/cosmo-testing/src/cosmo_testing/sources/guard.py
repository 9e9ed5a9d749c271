"""Detects access to the network, processes and files while it is forbidden."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.machinery import all_suffixes
from typing import Any, Final

import attrs

_REACHING_OUT: Final = {
    "socket.connect": "connects a socket",
    "socket.bind": "binds a socket",
    "socket.sendto": "sends a datagram",
    "socket.sendmsg": "sends a datagram",
    "socket.getaddrinfo": "resolves a name",
    "socket.gethostbyname": "resolves a name",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.fork": "starts a process",
    "os.exec": "becomes another process",
}
_CODE: Final = tuple(all_suffixes())


class ForbiddenError(RuntimeError):
    """Raised instead of a forbidden operation."""


@attrs.frozen
class _Watch:
    files: bool
    attempts: list[str]


_watch: ContextVar[_Watch | None] = ContextVar("_watch", default=None)


@contextmanager
def offline(*, files: bool) -> Iterator[list[str]]:
    """Forbid connections, name look-ups and processes inside the context, in this thread.

    A forbidden operation raises `ForbiddenError`. It is also recorded, in case the code swallows the error.

    Args:
        files: Whether opening a file is forbidden too, except for code to import.

    Yields:
        Descriptions of the forbidden operations so far.
    """
    _install()
    attempts: list[str] = []
    token = _watch.set(_Watch(files, attempts))
    try:
        yield attempts
    finally:
        _watch.reset(token)


@cache
def _install() -> None:
    # An audit hook sees every way to do these things; patching would only cover known ways. A hook cannot be
    # removed; this one does nothing outside the context.
    sys.addaudithook(_audit)


def _is_code(path: str) -> bool:
    # Compiled code is written to a file with a number as its last suffix, and renamed.
    return path.endswith(_CODE) or (path.rpartition(".")[0].endswith(".pyc") and "__pycache__" in path)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" and event not in _REACHING_OUT:
        return
    watch = _watch.get()
    if watch is None:
        return
    if event == "open":
        # A descriptor is that of a file that is open already.
        if not watch.files or isinstance(arguments[0], int) or _is_code(str(arguments[0])):
            return
        attempt = f"opens {arguments[0]!r}"
    else:
        # The first argument is the target, except for methods of a socket: there it is the socket.
        attempt = f"{_REACHING_OUT[event]}: {next(filter(_is_wanted, arguments), '')!r}"
    watch.attempts.append(attempt)
    raise ForbiddenError(f"forbidden here: {attempt}")


def _is_wanted(argument: Any) -> bool:
    return not isinstance(argument, socket.SocketType)
