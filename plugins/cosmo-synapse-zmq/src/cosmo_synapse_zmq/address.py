"""The address of a hub: URLs of a ZeroMQ Synapse."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import stat
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from cosmo_core.arguments import check_flag, check_seconds
from cosmo_core.errors import SynapseError, redacted

MAX_LEASE_S: Final = 3600.0
"""Seconds in the longest lease of a hub and its peers."""


def check_lease(lease_s: float) -> None:
    """Check the option ``lease_s`` of a hub or a peer.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not above 0, or above `MAX_LEASE_S`.
    """
    check_seconds("lease_s", lease_s, positive=True, most=MAX_LEASE_S)


def _shown(url: str) -> str:
    """Return ``url`` without secrets and without the values of its query, for errors."""
    return re.sub(r"([?&;][^=&;#]*=)(?!auto$)[^&;#]+", r"\1…", redacted(url))


@attrs.frozen
class Address:
    """The address of a hub.

    Attributes:
        endpoint: The address in ZeroMQ's notation.
        host: The host, or None for a path.
        path: The path of a socket on this machine, or None for a host.
        embedded: Whether a process that finds no hub runs one itself (``?hub=auto``).
    """

    endpoint: str
    host: str | None = None
    path: Path | None = None
    embedded: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse ``zmq://host:port`` or ``zmq+ipc://path``.

        Raises:
            SynapseError: The URL is neither.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            # The message must not quote the URL: it may contain a password.
            raise SynapseError(
                "the URL of the hub cannot be parsed; use zmq://host:port or zmq+ipc://path"
            ) from None
        if parts.password is not None:
            raise SynapseError("a zmq:// URL cannot have a password; use key_file and server_key")
        options = parse_qsl(parts.query, keep_blank_values=True)
        query = dict(options)
        hub = query.pop("hub", None)
        if query:
            raise SynapseError(
                f"{_shown(url)!r}: ?hub=auto is the only option in the URL of a hub; give others as keywords"
            )
        if len(options) > 1:
            raise SynapseError(f"{_shown(url)!r}: hub is given twice; give it once")
        if parts.fragment or parts.username or hub not in {None, "auto"}:
            raise SynapseError(
                f"invalid URL of a hub: {_shown(url)!r}; use zmq://host:port or zmq+ipc://path?hub=auto"
            )
        if parts.scheme == "zmq+ipc":
            path = parts.netloc + parts.path
            if not path:
                raise SynapseError(f"the URL {_shown(url)!r} has no path; use zmq+ipc:///run/cosmo.sock")
            return cls(f"ipc://{path}", path=Path(path), embedded=hub is not None)
        return cls._tcp(url, parts, hub)

    @classmethod
    def _tcp(cls, url: str, parts: SplitResult, hub: str | None) -> Self:
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme != "zmq" or host is None or port is None or parts.path not in {"", "/"}:
            raise SynapseError(
                f"invalid URL of a hub: {_shown(url)!r}; use zmq://host:port or zmq+ipc://path"
            )
        if hub is not None:
            raise SynapseError(f"{_shown(url)!r}: ?hub=auto needs zmq+ipc://; start a hub for zmq://")
        bracketed = f"[{host}]" if ":" in host else host
        return cls(f"tcp://{bracketed}:{port}", host=host)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host is None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return self.host is not None and ":" in self.host

    def check_keys(self, given: bool, insecure: bool) -> None:
        """Check that an address off loopback is used with keys.

        Raises:
            TypeError: ``insecure`` is not True or False.
            SynapseError: The address is not on loopback, no keys are given, and ``insecure`` is False.
        """
        check_flag("insecure", insecure)
        if not (given or insecure or self.is_local):
            raise SynapseError(
                f"{self} is not on loopback, and without keys any program may read and publish there;"
                " use keys (python -m cosmo_synapse_zmq keys --help) or insecure=True"
            )

    def check_path(self) -> None:
        """Check that a hub may bind the path: ZeroMQ deletes what is there.

        Raises:
            SynapseError: A file that is not a socket is there, or a socket on which a program listens.
        """
        if self.path is None or str(self.path).startswith("@"):
            return
        try:
            mode = self.path.lstat().st_mode
        except OSError:
            # Nothing is there, or binding fails with the reason.
            return
        if not stat.S_ISSOCK(mode):
            raise SynapseError(
                f"cannot start a hub at {self}: the path exists and is not a socket; use another path"
            )
        with socket.socket(socket.AF_UNIX) as probe:
            # It does not wait, however long the queue of connections is.
            probe.setblocking(False)
            if probe.connect_ex(str(self.path)) != errno.ECONNREFUSED:
                raise SynapseError(
                    f"cannot start a hub at {self}: a program listens there; use it, or another path"
                )

    def with_endpoint(self, endpoint: str) -> Address:
        """Return this address with the endpoint that a hub is bound to."""
        return attrs.evolve(self, endpoint=endpoint)

    def __str__(self) -> str:
        return self.endpoint.replace("tcp://", "zmq://").replace("ipc://", "zmq+ipc://")
