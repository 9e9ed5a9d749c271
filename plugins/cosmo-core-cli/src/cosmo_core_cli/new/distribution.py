"""A distribution that is made: its values, and its files on the disk."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cosmo_core.plugins import COSMO_API
from cosmo_core.plugins.advice import with_required
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.new.kinds import Kind
from cosmo_core_cli.new.names import Names
from cosmo_core_cli.new.rendering import rendered

SOME_CLONE: Final = "../cosmo"
"""Where a page expects a clone of this project's repository."""


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
        "install": install(kind, SOME_CLONE),
    }
    target = Template(kind.object).substitute(values)
    values["object"] = f"{names.package}:{target}" if target else names.package
    return rendered(("common", kind.word), values)


def install(kind: Kind, clone: str) -> str:
    """Return the command that installs the distribution and what its tests need, in its folder.

    Args:
        kind: The kind of plugin.
        clone: The path of a clone of this project's repository. Its distributions come from there, because
            none of them is published.
    """
    folders = (clone, *(f"{clone}/plugins/{name}" for name in with_required(*kind.beside)))
    return f"python -m pip install {shlex.join(folders)} --editable ."


def clone() -> str:
    """Return the clone that the core is installed from, or `SOME_CLONE` if its metadata does not tell."""
    url = json.loads(metadata.distribution("cosmo-core").read_text("direct_url.json") or "{}").get("url", "")
    path = Path(url2pathname(urlsplit(url).path))
    # It is the folder itself, or a wheel in its dist/.
    for folder in (path, *path.parents[:2]):
        if url.startswith("file:") and (folder / "plugins" / "cosmo-testing" / "pyproject.toml").is_file():
            return str(folder)
    return SOME_CLONE


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
    major, minor = metadata.version("cosmo-core").split(".")[:2]
    return f"{name}>={major}.{minor},<{major}.{int(minor) + 1}"


def _listed(requirements: Sequence[str]) -> str:
    return json.dumps(requirements)
