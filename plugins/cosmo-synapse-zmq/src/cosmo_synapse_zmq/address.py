"""Where a hub is: the URL of a ZeroMQ Synapse."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from cosmo_core import SynapseError


@attrs.frozen
class Address:
    """The address of a hub.

    Attributes:
        endpoint: As ZeroMQ spells it.
        host: The host, or None if it is a path on this machine.
        path: The path, or None if it is a host.
        carried: Whether a process that finds no hub there is to carry it: ``?hub=auto``.
    """

    endpoint: str
    host: str | None = None
    path: Path | None = None
    carried: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``zmq://host:port`` or ``zmq+ipc://path``.

        Raises:
            SynapseError: It is neither.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise SynapseError("this is no URL: write zmq://host:port or zmq+ipc://path") from None
        if parts.password is not None:
            raise SynapseError("a zmq:// URL takes no password: give key_file and server_key")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        carried = query.pop("hub", None)
        if query or parts.fragment or parts.username or carried not in {None, "auto"}:
            raise SynapseError(f"{url!r}: a ZeroMQ Synapse takes zmq://host:port, or zmq+ipc://path?hub=auto")
        if parts.scheme == "zmq+ipc":
            path = parts.netloc + parts.path
            if not path:
                raise SynapseError(f"{url!r} names no path: write zmq+ipc:///run/cosmo.sock")
            return cls(f"ipc://{path}", path=Path(path), carried=carried is not None)
        return cls._tcp(url, parts, carried)

    @classmethod
    def _tcp(cls, url: str, parts: SplitResult, carried: str | None) -> Self:
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme != "zmq" or host is None or port is None or parts.path not in {"", "/"}:
            raise SynapseError(f"{url!r} names no hub: write zmq://host:port or zmq+ipc://path")
        if carried is not None:
            raise SynapseError(f"{url!r}: only a hub at zmq+ipc:// can be carried; start one for zmq://")
        named = f"[{host}]" if ":" in host else host
        return cls(f"tcp://{named}:{port}", host=host)

    @property
    def is_local(self) -> bool:
        """Whether nobody outside of this machine can reach it."""
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
        """Refuse to go without keys where others could listen.

        Raises:
            SynapseError: It is not on loopback, there are no keys, and ``insecure`` was not asked for.
        """
        if not (given or insecure or self.is_local):
            raise SynapseError(
                f"{self} is not on loopback, so anybody might listen and send: give it keys"
                " (python -m cosmo_synapse_zmq keys --help), or say insecure=True"
            )

    def bound(self, endpoint: str) -> Address:
        """Return where a hub listens that was to listen here."""
        return attrs.evolve(self, endpoint=endpoint)

    def __str__(self) -> str:
        return self.endpoint.replace("tcp://", "zmq://").replace("ipc://", "zmq+ipc://")
