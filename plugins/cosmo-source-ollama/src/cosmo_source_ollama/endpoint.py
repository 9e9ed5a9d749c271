"""The URL of an Ollama server, from the option ``endpoint`` or from ``OLLAMA_HOST``."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar, Final

from cosmo_llm.http import Endpoint

DEFAULT: Final = "http://localhost:11434"
VARIABLE: Final = "OLLAMA_HOST"

_PORTS: Final = {"http": "80", "https": "443"}
_OLLAMA_PORT: Final = "11434"
_PORT_NUMBER: Final = re.compile(r"[0-9]{1,9}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OllamaEndpoint(Endpoint):
    """An Ollama server; its URL may end in ``/api``."""

    EXAMPLE: ClassVar[str] = DEFAULT
    API_PATHS: ClassVar[tuple[str, ...]] = ("/api/chat", "/api")

    @classmethod
    def from_environment(cls) -> OllamaEndpoint:
        """The server that ``OLLAMA_HOST`` names, or the default.

        Raises:
            ValueError: The value of ``OLLAMA_HOST`` is not a host or a URL.
        """
        # Ollama accepts quotes around the value, which some shells and service files leave there.
        host = os.environ.get(VARIABLE, "").strip().strip("\"'").strip()
        if "?" in host:
            raise ValueError(f"{VARIABLE}: leave out the query; a key goes into headers")
        return cls.parse(url_of(host), name=VARIABLE) if host else cls.parse(DEFAULT)


def url_of(host: str) -> str:
    """Convert a value of ``OLLAMA_HOST`` to a URL by Ollama's own rules.

    Args:
        host: Scheme, host name and port are each optional: ``gpu-box``, ``:8080``, ``0.0.0.0``,
            ``[::1]:8080`` or ``https://gpu-box/ollama``.
    """
    if host == "ollama.com":
        return "https://ollama.com"
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "http", host
    address, slash, path = rest.partition("/")
    if "@" in address:
        return f"{scheme}://{rest}"  # unchanged: `Endpoint.parse` refuses a user in a URL
    default_port = _PORTS.get(scheme, _OLLAMA_PORT) if found else _OLLAMA_PORT
    name, port = _split(address, default_port)
    return f"{scheme}://{_connectable(name)}:{port}{slash}{path}"


def _split(address: str, default_port: str) -> tuple[str, str]:
    """Split an address into host name and port; a bare IPv6 address has no port."""
    name, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in name and not name.endswith("]")):
        return address.strip("[]"), default_port
    # Ollama, too, continues with the default port.
    if not (_PORT_NUMBER.fullmatch(port) and int(port) < 65_536):
        _log.warning("%s has no usable port: %s is used", VARIABLE, default_port)
        port = default_port
    return name.strip("[]"), port


def _connectable(name: str) -> str:
    """Replace an address that only a server can use, such as ``0.0.0.0``, by the loopback address."""
    if not name:
        return "127.0.0.1"
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)
