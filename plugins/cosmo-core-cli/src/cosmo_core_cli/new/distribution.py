"""The files of a new distribution, rendered from templates and written to disk.

A template is a file whose name ends in ``-tpl``: installing this package would compile a ``.py`` file, and
linters would check it as code of this package. A folder ``package`` becomes the package of the plugin.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from cosmo_core.plugins import COSMO_API
from cosmo_core.plugins.advice import with_required
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.new.kinds import Kind
from cosmo_core_cli.new.names import Names

SUFFIX: Final = "-tpl"
"""The end of the name of a template."""

ASSUMED_CLONE: Final = "../cosmo"
"""The path of a clone of this project's repository in the README of a new distribution."""


def render(kind: Kind, names: Names) -> dict[PurePosixPath, str]:
    """Return the texts of the files of a distribution, by their paths.

    Args:
        kind: The kind of plugin.
        names: The names of the plugin.
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
        "dependencies": _toml_list(sorted([*map(_pinned, kind.requires), *kind.others])),
        "test": _toml_list([_pinned(name) for name in kind.tested_with]),
        "install": install_command(kind, ASSUMED_CLONE),
    }
    target = Template(kind.object).substitute(values)
    values["object"] = f"{names.package}:{target}" if target else names.package
    templates = resources.files("cosmo_core_cli.new") / "templates"
    return {
        _place(path, names.package): Template(file.read_text("utf-8")).substitute(values)
        for folder in ("common", kind.word)
        for path, file in _templates(templates / folder, PurePosixPath())
    }


def install_command(kind: Kind, clone: str) -> str:
    """Return the command that installs the distribution in the current folder with what its tests require.

    The distributions of this project are folders of a clone: none of them is published, so a distribution of
    the same name on a package index is not ours.

    Args:
        kind: The kind of plugin.
        clone: The path of a clone of this project's repository.
    """
    ours = dict.fromkeys(name.partition("[")[0] for name in (*kind.requires, *kind.tested_with))
    plugins = with_required(*(name for name in ours if name != "cosmo-core"), "cosmo-testing")
    folders = (clone, *(f"{clone}/plugins/{name}" for name in plugins))
    return f"python -m pip install {shlex.join(folders)} --editable ."


def find_clone() -> str:
    """Return the clone from which the core is installed; `ASSUMED_CLONE` if its metadata has no path."""
    url = json.loads(metadata.distribution("cosmo-core").read_text("direct_url.json") or "{}").get("url", "")
    path = Path(url2pathname(urlsplit(url).path))
    # The URL is that of the folder itself, or of a wheel in its dist/.
    for folder in (path, *path.parents[:2]):
        if url.startswith("file:") and (folder / "plugins" / "cosmo-testing" / "pyproject.toml").is_file():
            return str(folder)
    return ASSUMED_CLONE


def write(folder: Path, texts: Mapping[PurePosixPath, str]) -> None:
    """Write all files into a new folder, or none of them.

    Raises:
        UserError: The folder exists, or cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError as error:
        raise UserError(f"{error.filename} exists and was not changed") from None
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}") from None
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"cannot write into {folder}: {error.strerror}") from None


def _pinned(name: str) -> str:
    """Return a requirement on a distribution of this project, for the minor version of the installed core."""
    major, minor = metadata.version("cosmo-core").split(".")[:2]
    return f"{name}>={major}.{minor},<{major}.{int(minor) + 1}"


def _toml_list(requirements: Sequence[str]) -> str:
    return json.dumps(requirements)


def _templates(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, path / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield path / entry.name.removesuffix(SUFFIX), entry


def _place(path: PurePosixPath, package: str) -> PurePosixPath:
    return PurePosixPath(*(package if part == "package" else part for part in path.parts))
