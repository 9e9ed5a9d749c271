"""A relay between stdio and a port of this machine, so that a test can be an MCP server over stdio."""

from __future__ import annotations

import os
import socket
import sys
import threading


def main(port: str) -> None:
    with socket.create_connection(("127.0.0.1", int(port))) as connection:

        def forward() -> None:
            for line in sys.stdin.buffer:
                connection.sendall(line)
            os._exit(0)

        threading.Thread(target=forward, daemon=True).start()
        while chunk := connection.recv(1 << 16):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    os._exit(0)  # without waiting for the other thread


if __name__ == "__main__":
    main(*sys.argv[1:])
