"""The names that a new distribution goes by, all of them made from one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from cosmo_core.plugins import default_manager
from cosmo_core.plugins.advice import FIRST_PARTY
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.new.kinds import Kind

MAX_NAME: Final = 30
"""Characters in the longest name: what is made of it stays on one line."""

# What every use of a name takes: a distribution, a token of the bus, the scheme of a URL.
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin and its parts are called.

    Attributes:
        name: What users name it by, such as ``my-model``.
        distribution: What they install, such as ``cosmo-source-my-model``.
        package: What is imported, such as ``cosmo_source_my_model``.
        ident: The name in snake case.
        class_name: The name in camel case.
    """

    name: str
    distribution: str
    package: str
    ident: str
    class_name: str

    @classmethod
    def of(cls, kind: Kind, name: str) -> Self:
        """Make them from the name.

        Raises:
            Mistake: It cannot be the name of such a plugin; the message suggests one that can.
        """
        if name.startswith(kind.prefix):
            raise Mistake(f"leave out {kind.prefix!r}, it is put in front{_suggestion(kind, name)}")
        if _NAME.fullmatch(name) is None or len(name) > MAX_NAME:
            raise Mistake(
                f"{name!r} cannot name a plugin: use lower-case letters and digits, with single hyphens "
                f"between them, a letter first, {MAX_NAME} at most{_suggestion(kind, name)}"
            )
        distribution = kind.prefix + name
        return cls(
            name=name,
            distribution=distribution,
            package=distribution.replace("-", "_"),
            ident=name.replace("-", "_"),
            class_name="".join(part.capitalize() for part in name.split("-")),
        )


def check_free(kind: Kind, names: Names) -> None:
    """Refuse a name that another distribution brings: whoever has both could use neither.

    Raises:
        Mistake: It is one of this project's plugins, or of those that are installed here.
    """
    ours = FIRST_PARTY.get(kind.group, {}).get(names.name)
    owner = ours or default_manager().names(kind.group).get(names.name)
    # The same distribution may be installed from a folder that was made earlier. The new one replaces it.
    if owner and (ours or owner.split(" ")[0] != names.distribution):
        raise Mistake(f"{names.name!r} is brought by {owner} already: choose another name")


def _suggestion(kind: Kind, name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    slug = "-".join(words).removeprefix(kind.prefix).lstrip("0123456789-")[:MAX_NAME].rstrip("-")
    return f"; such as {slug}" if slug else ""
