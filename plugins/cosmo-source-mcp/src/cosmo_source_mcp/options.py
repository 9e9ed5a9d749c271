"""The options of the source, declared once as a type with constraints."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

import httpx2

from cosmo_llm import Secrets
from cosmo_llm.options import (
    HIDDEN,
    Converter,
    Flag,
    Options,
    Seconds,
    header_mapping,
    hidden_value,
    text_mapping,
    wrong_value,
)
from cosmo_source_mcp.bearer import TokenSource
from cosmo_source_mcp.limits import DEFAULT_START_TIMEOUT_S, DEFAULT_TIMEOUT_S
from cosmo_source_mcp.process import inherited_secrets
from cosmo_source_mcp.targets import PRESETS, Launch, ServerUrl

_WAYS: Final[tuple[str, ...]] = ("command", "server", "url")
_VARIABLE: Final = (re.compile(r"[^=\0]+"), re.compile(r"[^\0]*"))

# A shorter value is not secret, and redacting it would garble every quote.
_SHORTEST_SECRET: Final = 4


def _text(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or value == "" or "\0" in value):
        raise wrong_value(name, value, "a non-empty string")
    return value


def _preset_name(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in PRESETS):
        return value
    raise wrong_value(name, value, f"one of {', '.join(PRESETS)}, or command with args,")


def _url(_: str, value: object) -> ServerUrl | None:
    return value if value is None or isinstance(value, ServerUrl) else ServerUrl.parse(value)


def _texts(name: str, value: object) -> tuple[str, ...] | None:
    """A list of strings and paths. An error does not repeat an item, which may be secret."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise hidden_value(name, value, "a list of strings")
    texts = tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in value)
    for index, text in enumerate(texts):
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"{name}[{index}]: a string without NUL is needed")
    return texts


def _variables(name: str, value: object) -> Mapping[str, str] | None:
    return text_mapping(name, value, *_VARIABLE)


def _roots(name: str, value: object) -> tuple[str, ...] | None:
    """A list of folders, as paths or as ``file:`` URIs, made a list of URIs."""
    texts = _texts(name, value)
    if texts is None:
        return None
    return tuple(text if text.startswith("file://") else Path(text).absolute().as_uri() for text in texts)


def _auth(name: str, value: object) -> httpx2.Auth | None:
    if value is None or isinstance(value, httpx2.Auth):
        return value
    raise hidden_value(name, value, "an httpx2.Auth, such as mcp.client.auth.OAuthClientProvider,")


def _token(name: str, value: object) -> TokenSource | None:
    if value is None or isinstance(value, TokenSource):
        return value
    return TokenSource.parse(name, value)


def _folder(name: str, value: object) -> str | os.PathLike[str] | None:
    if value is None or isinstance(value, (str, os.PathLike)):
        return value
    raise wrong_value(name, value, "the path of a folder")


class McpOptions(Options, frozen=True, kw_only=True):
    """The options of a `McpNeuron`. Exactly one of ``command``, ``server`` and ``url`` is given.

    Attributes:
        command: The program to start as the server.
        server: The name of a preset to start as the server.
        url: The URL of the server.
        args: The arguments of the program.
        env: Variables for the program.
        cwd: The folder to run the program in.
        headers: Sent with every HTTP request.
        token: The bearer token, or a function that returns it, for every HTTP request.
        auth: Authorizes every HTTP request, by OAuth for example.
        roots: The URIs of the folders that the server is told about.
        tool: The one tool to call; an input is then its arguments.
        stream: Whether the Neuron yields what the server reports during a call.
        timeout: The time limit of one call, including its wait for the start of the server, in seconds.
        start_timeout: The time limit of the start of the server, in seconds.
    """

    SOURCE: ClassVar[str] = "mcp"

    command: Annotated[str | None, Converter(_text)] = None
    server: Annotated[str | None, Converter(_preset_name)] = None
    url: Annotated[ServerUrl | None, Converter(_url)] = None
    args: Annotated[tuple[str, ...] | None, Converter(_texts), HIDDEN] = None
    env: Annotated[Mapping[str, str] | None, Converter(_variables), HIDDEN] = None
    cwd: Annotated[str | os.PathLike[str] | None, Converter(_folder)] = None
    headers: Annotated[Mapping[str, str] | None, Converter(header_mapping), HIDDEN] = None
    token: Annotated[TokenSource | None, Converter(_token), HIDDEN] = None
    auth: Annotated[httpx2.Auth | None, Converter(_auth), HIDDEN] = None
    roots: Annotated[tuple[str, ...] | None, Converter(_roots)] = None
    tool: Annotated[str | None, Converter(_text)] = None
    stream: Flag = False
    timeout: Seconds = DEFAULT_TIMEOUT_S
    start_timeout: Seconds = DEFAULT_START_TIMEOUT_S

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name for name in self.names() if getattr(self, name) is not None}
        ways = [name for name in _WAYS if name in given]
        if len(ways) != 1:
            found = " and ".join(ways) or "none of them"
            raise ValueError(f"exactly one of command, server and url is needed, not {found}")
        if self.url is not None and (unused := [name for name in ("args", "cwd", "env") if name in given]):
            raise ValueError(f"{unused[0]} is for a server that is started here: leave out url")
        for name in ("headers", "token", "auth"):
            if self.url is None and name in given:
                raise ValueError(f"{name} is for a server at a url; one that is started here gets env")
        if self.token is not None and self.auth is not None:
            raise ValueError("token and auth are two ways to authorize; leave out one of them")
        needed = PRESETS[self.server].needs_args if self.server else None
        if needed and not self.args:
            raise ValueError(f"args: server={self.server!r} needs {needed}, as in args=['/srv/data']")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what the user gave; ``None`` counts as absent.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or cannot be combined with another option.
        """
        known = cls.names()
        return super().parse(
            {name: value for name, value in given.items() if value is not None or name not in known}
        )

    @property
    def target(self) -> Launch | ServerUrl:
        """How to start the server, or its URL."""
        if self.url is not None:
            return self.url
        args, env = self.args or (), self.env or {}
        if self.server is not None:
            preset = PRESETS[self.server]
            return Launch(
                name=self.server,
                command=preset.command,
                args=(*preset.args, *args),
                env=env,
                cwd=self.cwd,
                advice=preset.advice,
            )
        command = self.command or ""  # exactly one of the three is given
        return Launch(name=command, command=command, args=args, env=env, cwd=self.cwd)

    @property
    def secrets(self) -> Secrets:
        """What neither an error nor a log may show."""
        values = [*(self.env or {}).values(), *(self.headers or {}).values(), *inherited_secrets()]
        if self.url is not None:
            values += self.url.secrets
        if self.token is not None:
            return self.token.secrets(values, shortest=_SHORTEST_SECRET)
        return Secrets(values, shortest=_SHORTEST_SECRET, parts=True)

    @property
    def label(self) -> str:
        """What messages call the server."""
        target = self.target
        if isinstance(target, Launch):
            return f"the MCP server {target.name!r}"
        return f"the MCP server at {target.shown}"
