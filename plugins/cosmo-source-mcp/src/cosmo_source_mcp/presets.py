"""Servers that are known by name: how to launch them, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LAUNCHERS: Final = {
    "npx": "npx is missing: install Node.js (https://nodejs.org), which brings it",
    "uvx": "uvx is missing: install uv (https://docs.astral.sh/uv), which brings it",
}


@dataclass(frozen=True, slots=True)
class Preset:
    """One of the reference servers.

    Attributes:
        command: The launcher; it downloads the server on first use.
        args: What launches the server; the user's own come after these.
        needs_args: What the user's arguments must name, for a server that is of no use without.
    """

    command: str
    args: tuple[str, ...]
    needs_args: str | None = None

    @property
    def advice(self) -> str:
        """What to do when the launcher is not installed."""
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
"""What ``server=`` may name."""
