"""The options of the source: checked once, when the Neuron is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cosmo_source_mcp.checks import HEADER, VARIABLE, check_text, text_list, text_mapping, wrong
from cosmo_source_mcp.launch import Launch
from cosmo_source_mcp.limits import DEFAULT_TIMEOUT_S
from cosmo_source_mcp.presets import PRESETS
from cosmo_source_mcp.server_url import ServerUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final = ("args", "command", "cwd", "env", "headers", "server", "timeout", "tool", "url")
_WAYS: Final[tuple[str, ...]] = ("command", "server", "url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a Neuron of this source is made from; what may be secret is not in the repr.

    Attributes:
        target: How to start the server, or where it is.
        headers: Sent with every HTTP request.
        tool: The one tool to call; the input is then its arguments.
        timeout: How long one call may take, the start of the server included, in seconds.
    """

    target: Launch | ServerUrl
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tool: str | None = None
    timeout: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        check_text("tool", self.tool)
        limit: object = self.timeout
        if not isinstance(limit, (int, float)) or isinstance(limit, bool) or not 0 < limit < math.inf:
            raise wrong("timeout", limit, "a positive number of seconds")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Check what the user gave.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or does not go with the others.
        """
        if unknown := sorted(set(given) - set(NAMES)):
            raise TypeError(f"mcp has no option {', '.join(unknown)}; it has {', '.join(NAMES)}")
        made = {name: value for name, value in given.items() if value is not None}
        ways = [name for name in _WAYS if name in made]
        if len(ways) != 1:
            found = " and ".join(ways) or "none of them"
            raise ValueError(f"exactly one of command, server and url is needed, not {found}")
        common = {name: made[name] for name in ("tool", "timeout") if name in made}
        if ways == ["url"]:
            _refuse(made, ("args", "cwd", "env"), "a server that is started here: leave out url")
            headers = text_mapping("headers", made.get("headers", {}), HEADER)
            return cls(target=ServerUrl.parse(made["url"]), headers=headers, **common)
        _refuse(made, ("headers",), "a server at a url; one that is started here gets env")
        return cls(target=_launch(made), **common)

    @property
    def secrets(self) -> list[str]:
        """The values that must not be shown."""
        if isinstance(self.target, Launch):
            return list(self.target.env.values())
        return [*self.headers.values(), *self.target.secrets]

    @property
    def label(self) -> str:
        """What messages call the server."""
        if isinstance(self.target, Launch):
            return f"the MCP server {self.target.name!r}"
        return f"the MCP server at {self.target.shown}"


def _launch(made: Mapping[str, Any]) -> Launch:
    args = text_list("args", made.get("args", ()))
    env = text_mapping("env", made.get("env", {}), VARIABLE)
    cwd = made.get("cwd")
    if "command" in made:
        return Launch(name=made["command"], command=made["command"], args=args, env=env, cwd=cwd)
    name = made["server"]
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        raise wrong("server", name, f"one of {', '.join(PRESETS)}, or command with args,")
    if preset.needs_args and not args:
        raise ValueError(f"args: server={name!r} needs {preset.needs_args}, as in args=['/srv/data']")
    args = (*preset.args, *args)
    return Launch(name=name, command=preset.command, args=args, env=env, cwd=cwd, advice=preset.advice)


def _refuse(made: Mapping[str, Any], names: tuple[str, ...], belongs_to: str) -> None:
    for name in names:
        if name in made:
            raise ValueError(f"{name} is for {belongs_to}")
