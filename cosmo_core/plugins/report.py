"""The status of every plugin, for `cosmo plugins` and for tests."""

from __future__ import annotations

from textwrap import indent
from typing import Final, Literal, TypeAlias

import attrs

from cosmo_core.errors import PluginConflictError, PluginError, PluginIncompatibleError

Status: TypeAlias = Literal["available", "loaded", "disabled", "failed", "conflict", "incompatible"]

PROBLEMS: Final = frozenset({"failed", "conflict", "incompatible"})
HEADINGS: Final = ("GROUP", "NAME", "DISTRIBUTION", "VERSION", "STATUS")


def status_of(error: PluginError) -> Status:
    """Return the status of a plugin that cannot be used because of ``error``."""
    if isinstance(error, PluginConflictError):
        return "conflict"
    return "incompatible" if isinstance(error, PluginIncompatibleError) else "failed"


@attrs.frozen
class PluginRecord:
    """The status of one plugin.

    Attributes:
        group: Its entry-point group; ``*`` for a distribution whose entry points cannot be read.
        name: Its name in the group; ``*`` likewise.
        distribution: Its distribution; None if the program registered the plugin itself.
        version: The version of that distribution.
        status: ``available`` means installed and not imported yet.
        cause: Why it is neither available nor loaded.
    """

    group: str
    name: str
    distribution: str | None
    version: str | None
    status: Status
    cause: str | None = None


@attrs.frozen
class PluginReport:
    """The status of every plugin. As a string it is a table.

    Attributes:
        records: One per plugin, by group, name and distribution.
    """

    records: tuple[PluginRecord, ...]

    @property
    def problems(self) -> tuple[PluginRecord, ...]:
        """The installed plugins that cannot be used although they are not disabled."""
        return tuple(record for record in self.records if record.status in PROBLEMS)

    def __str__(self) -> str:
        if not self.records:
            return "no plugins"
        rows = [HEADINGS, *(_cells(record) for record in self.records)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        causes = [None, *(record.cause for record in self.records)]
        return "\n".join(_line(row, widths, cause) for row, cause in zip(rows, causes, strict=True))


def _cells(record: PluginRecord) -> tuple[str, ...]:
    return (record.group, record.name, record.distribution or "-", record.version or "-", record.status)


def _line(row: tuple[str, ...], widths: list[int], cause: str | None) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    return line if cause is None else f"{line}\n{indent(cause, '    ')}"
