"""The status of every plugin, for `cosmo plugins` and for tests."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

from cosmo_core.errors import PluginConflictError, PluginError, PluginIncompatibleError

Status: TypeAlias = Literal["available", "loaded", "disabled", "failed", "conflict", "incompatible"]

PROBLEMS: Final = frozenset({"failed", "conflict", "incompatible"})


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
    """The status of every plugin.

    Attributes:
        records: One per plugin, by group, name and distribution.
    """

    records: tuple[PluginRecord, ...]

    @property
    def problems(self) -> tuple[PluginRecord, ...]:
        """The installed plugins that cannot be used although they are not disabled."""
        return tuple(record for record in self.records if record.status in PROBLEMS)
