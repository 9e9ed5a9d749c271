"""What is forbidden while a source is imported or a Neuron is made."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmo_testing.sources.guard import ForbiddenError, offline

ATTEMPTS: dict[str, tuple[Callable[[], object], str]] = {
    "connect": (
        lambda: socket.socket().connect(("127.0.0.1", 9)),
        "connects a socket: ('127.0.0.1', 9)",
    ),
    "datagram": (
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
        "sends a datagram: ('127.0.0.1', 9)",
    ),
    "listen": (lambda: socket.create_server(("127.0.0.1", 0)), "binds a socket: ('127.0.0.1', 0)"),
    "name": (lambda: socket.getaddrinfo("models.example", 443), "resolves a name: 'models.example'"),
    "process": (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "starts a process: "),
    "shell": (lambda: os.system("exit"), "starts a process: "),  # noqa: S605, S607
    "file": (lambda: Path("notes.txt").read_text(), "opens 'notes.txt'"),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(("attempt", "words"), ATTEMPTS.values(), ids=list(ATTEMPTS))
def test_forbidden_operation_raises_and_is_recorded(attempt: Callable[[], object], words: str) -> None:
    with offline(files=True) as attempts:
        with pytest.raises(ForbiddenError):
            attempt()
        with contextlib.suppress(Exception):
            attempt()
    assert len(attempts) >= 2
    assert all(each.startswith(words) for each in attempts)


@pytest.mark.parametrize("compiled", [False, True])
def test_code_may_be_imported_where_files_may_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    (tmp_path / "cosmo_lazily_imported.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", not compiled)
    monkeypatch.delitem(sys.modules, "cosmo_lazily_imported", raising=False)
    with offline(files=True) as attempts:
        import cosmo_lazily_imported  # type: ignore[import-not-found]
    assert cosmo_lazily_imported.__file__ == str(tmp_path / "cosmo_lazily_imported.py")
    assert (tmp_path / "__pycache__").exists() is compiled
    assert attempts == []


def test_files_may_be_opened_where_only_reaching_out_is_forbidden(tmp_path: Path) -> None:
    with offline(files=False) as attempts:
        (tmp_path / "notes.txt").write_text("")
    assert attempts == []


def test_other_threads_and_later_code_are_not_restricted(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "notes.txt").write_text("written")

    thread = threading.Thread(target=write)
    with offline(files=True) as attempts:
        thread.start()
        thread.join()
    assert (tmp_path / "notes.txt").read_text() == "written"
    assert attempts == []
