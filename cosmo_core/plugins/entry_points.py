"""An installed entry point, and what the metadata of its distribution says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint


@attrs.frozen
class Entry:
    """An entry point: the claim of one distribution on one name of one group."""

    group: str
    name: str
    distribution: str
    version: str
    point: EntryPoint = attrs.field(eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.group} {self.name!r} of {self.owner}"

    @property
    def owner(self) -> str:
        """The distribution and its version, for display."""
        return f"{self.distribution} {self.version}"

    @property
    def package(self) -> str:
        """The top-level package that the entry point names.

        Raises:
            ValueError: The value of the entry point is malformed.
        """
        return self.point.module.partition(".")[0]

    def requirements(self) -> list[str]:
        """Return the requirements of the distribution, without those of its extras."""
        declared = (self.point.dist.requires if self.point.dist else None) or []
        return [text for text in declared if not re.search(r"\bextra\s*==", text)]

    def absent_requirements(self) -> list[str]:
        """Return the requirements of which no version is installed."""
        return [text for text in self.requirements() if not _is_installed(required_name(text))]


def canonical(name: str) -> str:
    """Give the one spelling under which names such as ``Cosmo_Source.X`` and ``cosmo-source-x`` are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_name(requirement: str) -> str:
    """Give the distribution that a requirement such as ``httpx[http2]>=0.28`` asks for."""
    return canonical(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])


def _is_installed(distribution: str) -> bool:
    import importlib_metadata

    return any(True for _ in importlib_metadata.distributions(name=distribution))
