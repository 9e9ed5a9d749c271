"""Where Ollama listens: as an URL, or as the variable that Ollama's own programs read."""

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
_OWN_PORT: Final = "11434"
_NUMBER: Final = re.compile(r"[0-9]{1,9}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OllamaEndpoint(Endpoint):
    """An Ollama server: with or without ``/api`` at the end of its URL."""

    EXAMPLE: ClassVar[str] = DEFAULT
    API_PATHS: ClassVar[tuple[str, ...]] = ("/api/chat", "/api")

    @classmethod
    def from_environment(cls) -> OllamaEndpoint:
        """Where ``OLLAMA_HOST`` points, or the default.

        Raises:
            ValueError: It points nowhere.
        """
        # Ollama takes the variable with quotes around it, as some shells and service files leave them there.
        host = os.environ.get(VARIABLE, "").strip().strip("\"'").strip()
        return cls.parse(url_of(host), name=VARIABLE) if host else cls.parse(DEFAULT)


def url_of(host: str) -> str:
    """Read a host as Ollama does: the scheme, the port and even the name itself may be left out.

    Args:
        host: Such as ``gpu-box``, ``:8080``, ``0.0.0.0``, ``[::1]:8080`` or ``https://gpu-box/ollama``.
    """
    if host == "ollama.com":
        return "https://ollama.com"
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "http", host
    address, slash, path = rest.partition("/")
    if "@" in address:
        return f"{scheme}://{rest}"  # what is before it is no host: whoever reads the URL will say so
    usual = _PORTS.get(scheme, _OWN_PORT) if found else _OWN_PORT
    name, port = _split(address, usual)
    return f"{scheme}://{_connectable(name)}:{port}{slash}{path}"


def _split(address: str, usual: str) -> tuple[str, str]:
    """Tell the name from the port; a bare IPv6 address has no port."""
    name, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in name and not name.endswith("]")):
        return address.strip("[]"), usual
    # Ollama goes on with the usual port, too, rather than stop.
    if not (_NUMBER.fullmatch(port) and int(port) < 65_536):
        _log.warning("%s has no usable port: %s is used", VARIABLE, usual)
        port = usual
    return name.strip("[]"), port


def _connectable(name: str) -> str:
    """Replace an address that a server listens on, but that nobody can connect to."""
    if not name:
        return "127.0.0.1"
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)
