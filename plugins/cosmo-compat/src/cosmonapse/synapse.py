"""The Synapse for ``cosmo://host:port``: a ZeroMQ bus, which needs no server on this machine."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cosmo_core import Synapse, SynapseError
from cosmo_synapse_zmq import Address, from_url

DEFAULT_PORT: Final = 7070
"""The port of a URL without one."""


def from_cosmo_url(url: str, **options: Any) -> Synapse:
    """Return the Synapse for ``cosmo://host:port``.

    On this machine, the first program that connects runs the hub, and all programs of a user share the bus of
    a port. Any other host needs a hub there: ``cosmo hub zmq://host:port``.

    Args:
        url: The URL; its port is 7070 by default.
        **options: As for a URL of ``zmq://``.

    Raises:
        SynapseError: The URL is malformed, the folder of the sockets is not safe, or keys are required and
            missing.
        TypeError: An option is unknown.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORT
    except ValueError:
        raise SynapseError("the URL of the bus cannot be parsed; use cosmo://host:port") from None
    if parts.username or parts.password or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise SynapseError("the URL of the bus has more than a host and a port; use cosmo://host:port")
    remote = f"zmq://[{host}]:{port}" if ":" in host else f"zmq://{host}:{port}"
    if not Address.parse(remote).is_local:
        return from_url(remote, **options)
    return from_url(f"zmq+ipc://{_folder() / str(port)}.sock?hub=auto", **options)


def _folder() -> Path:
    """Return the folder of this user's sockets, which others cannot enter."""
    folder = Path(tempfile.gettempdir(), f"cosmonapse-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise SynapseError(f"cannot use the folder of the bus: {error}") from None
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SynapseError(f"other users can enter {folder}: remove it, or set TMPDIR to another folder")
    return folder
