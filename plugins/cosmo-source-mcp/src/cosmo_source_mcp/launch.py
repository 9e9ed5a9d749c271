"""How a server is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cosmo_source_mcp.checks import check_text, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command line and what it runs in; neither arguments nor environment are in the repr.

    Attributes:
        name: What messages call the server.
        command: The program, as a path or to be found on ``PATH``.
        args: Its arguments.
        env: Variables that the server gets besides the few harmless ones of its host.
        cwd: The folder to run it in; the host's own without one.
        advice: What to do when there is no such program.
    """

    name: str
    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | os.PathLike[str] | None = None
    advice: str = "check command, and that it is installed and on PATH"

    def __post_init__(self) -> None:
        check_text("command", self.command)
        if self.cwd is not None and not isinstance(self.cwd, (str, os.PathLike)):
            raise wrong("cwd", self.cwd, "the path of a folder")
