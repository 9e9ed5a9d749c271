"""The two kinds of servers: one that the Neuron starts, and one at a URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl
from urllib.request import getproxies, proxy_bypass

import httpx2

from cosmo_llm.wire import is_loopback

_LAUNCHERS: Final = {
    "npx": "npx is missing: install Node.js (https://nodejs.org), which includes it",
    "uvx": "uvx is missing: install uv (https://docs.astral.sh/uv), which includes it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a server. The repr shows neither the arguments nor the environment.

    Attributes:
        name: What messages call the server.
        command: The program, as a path or a name on ``PATH``.
        args: Its arguments.
        env: Variables for the server, in addition to the few harmless ones that it inherits.
        cwd: The folder to run it in; without one, the current folder.
        advice: What to do if the program is not found.
    """

    name: str
    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | os.PathLike[str] | None = None
    advice: str = "check command, and that it is installed and on PATH"


@dataclass(frozen=True, slots=True)
class Preset:
    """A reference server that ``server=`` can name.

    Attributes:
        command: The launcher, which downloads the server on first use.
        args: The launcher's arguments; those of the user follow.
        needs_args: What the user's arguments must be, for a server that does not work without any.
    """

    command: str
    args: tuple[str, ...]
    needs_args: str | None = None

    @property
    def advice(self) -> str:
        """What to do if the launcher is not found."""
        return _LAUNCHERS[self.command]


def _npx(package: str, *, needs_args: str | None = None) -> Preset:
    return Preset("npx", ("-y", f"@modelcontextprotocol/{package}"), needs_args)


def _uvx(package: str) -> Preset:
    return Preset("uvx", (package,))


PRESETS: Final = {
    "everything": _npx("server-everything"),
    "fetch": _uvx("mcp-server-fetch"),
    "filesystem": _npx("server-filesystem", needs_args="the directories it may use"),
    "git": _uvx("mcp-server-git"),
    "memory": _npx("server-memory"),
    "sequentialthinking": _npx("server-sequential-thinking"),
    "time": _uvx("mcp-server-time"),
}
"""The presets by name."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The URL of a server. Its query, which may hold a key, is stored separately and never shown.

    Attributes:
        shown: The URL without its query.
        query: The query, encoded as it is sent.
    """

    shown: str
    query: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, url: object) -> ServerUrl:
        """Parse a URL.

        Raises:
            ValueError: It is not an http or https URL, or it has a user or a fragment.
        """
        try:
            parsed = httpx2.URL(url) if isinstance(url, str) else None
        except httpx2.InvalidURL:
            parsed = None
        if parsed is not None and (parsed.userinfo or parsed.fragment):
            # The URL is not repeated: it may hold a password.
            raise ValueError("url: leave out user and fragment; a key goes into headers")
        is_web = parsed is not None and parsed.scheme in ("http", "https") and parsed.host != ""
        if parsed is None or not is_web or not 0 < (parsed.port or 80) < 65_536:
            raise ValueError("url: an http:// or https:// URL is needed, such as http://localhost:8000/mcp")
        return cls(str(parsed.copy_with(query=None)), parsed.query)

    @property
    def secrets(self) -> list[str]:
        """The query and its values, encoded as they are sent and decoded."""
        query = self.query.decode("ascii")
        sent = [pair.partition("=")[2] for pair in query.split("&")]
        return [query, *sent, *(value for _, value in parse_qsl(query))]

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment sets for this server; none for a server on this machine."""
        parsed = httpx2.URL(self.shown)
        if is_loopback(parsed.host) or proxy_bypass(parsed.host):
            return None
        proxies = getproxies()
        return proxies.get(parsed.scheme) or proxies.get("all")

    def with_query(self, url: httpx2.URL) -> httpx2.URL:
        """Add the query to a URL that is about to be requested."""
        return url.copy_with(query=self.query) if self.query else url
