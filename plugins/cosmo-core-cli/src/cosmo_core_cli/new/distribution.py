"""A distribution that is made: its values, and its files on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from string import Template

from cosmo_core.plugins import COSMO_API
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.new.kinds import Kind
from cosmo_core_cli.new.names import Names
from cosmo_core_cli.new.rendering import rendered


def files(kind: Kind, names: Names) -> dict[PurePosixPath, str]:
    """Return the texts of the files of a distribution, by their paths.

    Args:
        kind: The kind of plugin.
        names: What it goes by.
    """
    values = {
        "name": names.name,
        "distribution": names.distribution,
        "package": names.package,
        "ident": names.ident,
        "variable": names.package.upper(),
        "class_name": names.class_name,
        "description": kind.description,
        "group": kind.group,
        "api": str(COSMO_API),
        "dependencies": _listed(sorted([*map(_bounded, kind.requires), *kind.others])),
        "test": _listed([_bounded(name) for name in kind.tested_with]),
        "install": " ".join(install(kind)),
    }
    target = Template(kind.object).substitute(values)
    values["object"] = f"{names.package}:{target}" if target else names.package
    return rendered(("common", kind.word), values)


def install(kind: Kind) -> list[str]:
    """Return what pip is to install beside the distribution itself, for its tests to run."""
    return [f'"{name}"' if "[" in name else name for name in kind.tested_with]


def write(folder: Path, texts: Mapping[PurePosixPath, str]) -> None:
    """Write files into a folder that is new: all of them, or none.

    Raises:
        Mistake: Something is there already, or the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError as error:
        raise Mistake(f"{error.filename} exists already, and was left as it is") from None
    except OSError as error:
        raise Mistake(f"cannot make {folder}: {error.strerror}") from None
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)  # it was made here, a moment ago
        raise Mistake(f"cannot write into {folder}: {error.strerror}") from None


def _bounded(name: str) -> str:
    """Require a distribution of this project in the versions that go with the core that is installed."""
    major, minor = version("cosmo-core").split(".")[:2]
    return f"{name}>={major}.{minor},<{major}.{int(minor) + 1}"


def _listed(requirements: Sequence[str]) -> str:
    return json.dumps(requirements)
