"""The environment variables that disable plugins, resolve conflicts, or make faults of plugins fatal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from cosmo_core.errors import PluginError

CORE: Final = "cosmo-core"
"""The core's own distribution; its extensions are disabled by name only."""

DISABLE: Final = "COSMO_DISABLE_PLUGINS"
PREFER: Final = "COSMO_PREFER_PLUGINS"
STRICT: Final = "COSMO_STRICT_PLUGINS"


def canonical(name: str) -> str:
    """Return the canonical name of a distribution: ``cosmo-source-x`` for ``Cosmo_Source.X``."""
    return re.sub(r"[-_.]+", "-", name).lower()


@attrs.frozen
class Switches:
    """The settings for installed plugins from the environment.

    Attributes:
        disabled: Names of entry points and of distributions to ignore; ``*`` is all of them except the
            extensions of the core.
        preferred: The distribution to use if several claim one name, by ``group:name``.
        strict: Whether a hook plugin that cannot be used is an error.
    """

    disabled: tuple[str, ...] = ()
    preferred: Mapping[str, str] = attrs.field(factory=dict)
    strict: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Switches:
        """Read the three variables.

        Raises:
            PluginError: The value of a variable is not valid.
        """
        return cls(
            disabled=_items(environ.get(DISABLE, "")),
            preferred=dict(_preference(item) for item in _items(environ.get(PREFER, ""))),
            strict=_flag(environ.get(STRICT, "")),
        )

    def disabled_by(self, name: str, distribution: str) -> str | None:
        """Return the item of ``COSMO_DISABLE_PLUGINS`` that disables this plugin, or None."""
        for item in self.disabled:
            if item == name or canonical(item) == canonical(distribution):
                return item
            if item == "*" and distribution != CORE:
                return item
        return None


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _preference(item: str) -> tuple[str, str]:
    claim, _, distribution = (part.strip() for part in item.rpartition("="))
    group, _, name = claim.partition(":")
    if not (group and name and distribution):
        raise PluginError(
            f"{PREFER} has {item!r}; write group:name=distribution, as in cosmo.synapses:zmq=my-zmq"
        )
    return claim, distribution


def _flag(text: str) -> bool:
    if text.strip() not in ("", "0", "1"):
        raise PluginError(f"{STRICT} is {text!r}; write 1 for strict, 0 or nothing otherwise")
    return text.strip() == "1"
