"""The names in a new distribution, all derived from one."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword
from typing import Final, Self

from cosmo_core.plugins import default_manager
from cosmo_core.plugins.advice import FIRST_PARTY
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.new.kinds import APP, Kind

MAX_NAME: Final = 30
"""Characters in a name at most, so that the lines of the templates are short enough for every name."""

# Valid as the name of a distribution, as a token of the protocol, and as the scheme of a URL.
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a plugin and its parts.

    Attributes:
        name: The name that users write, such as ``my-model``.
        distribution: The name of the distribution, such as ``cosmo-source-my-model``.
        package: The name of the package, such as ``cosmo_source_my_model``.
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
        """Derive all names from one.

        Raises:
            UserError: The name is not valid; the message suggests a valid one.
        """
        if kind.prefix and name.startswith(kind.prefix):
            raise UserError(f"omit {kind.prefix!r}, which is added to the name{_suggestion(kind, name)}")
        if _NAME.fullmatch(name) is None or len(name) > MAX_NAME:
            raise UserError(
                f"{name!r} is not a valid name: use lower-case letters, digits and single hyphens between "
                f"them, begin with a letter, and use {MAX_NAME} characters at most{_suggestion(kind, name)}"
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
    """Reject the name of an existing plugin: with both installed, neither could be used.

    Raises:
        UserError: The name belongs to a plugin of this project, or to an installed one; that of an
            application to a module.
    """
    if kind is APP:
        _check_module(names)
        return
    ours = FIRST_PARTY.get(kind.group, {}).get(names.name)
    owner = ours or default_manager().names(kind.group).get(names.name)
    # Installing the new distribution replaces one of the same name, so the two do not conflict.
    if owner and (ours or owner.split(" ")[0] != names.distribution):
        raise UserError(f"{names.name!r} is the name of a plugin in {owner}: choose another name")


def _check_module(names: Names) -> None:
    package = names.package
    if iskeyword(package) or package == "tests":
        raise UserError(f"{package!r} cannot be the name of a package: choose another name")
    if package in sys.stdlib_module_names or find_spec(package) is not None:
        raise UserError(f"{package!r} is the name of an installed module: choose another name")


def _suggestion(kind: Kind, name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    slug = "-".join(words).removeprefix(kind.prefix).lstrip("0123456789-")[:MAX_NAME].rstrip("-")
    return f"; such as {slug}" if slug else ""
