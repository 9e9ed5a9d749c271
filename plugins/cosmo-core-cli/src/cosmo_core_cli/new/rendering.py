"""From templates to the files of a distribution.

A template is a file whose name ends in ``-tpl``: were it a ``.py``, installing would compile it, and tools
would take it for code of this package. A folder ``package`` stands for the package that is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import PurePosixPath
from string import Template
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SUFFIX: Final = "-tpl"


def rendered(folders: tuple[str, ...], values: Mapping[str, str]) -> dict[PurePosixPath, str]:
    """Return the texts of the files that some folders of templates make, by their paths.

    Raises:
        KeyError: A template names a value that there is not.
    """
    templates = resources.files("cosmo_core_cli.new") / "templates"
    return {
        _place(path, values["package"]): Template(file.read_text("utf-8")).substitute(values)
        for folder in folders
        for path, file in _files(templates / folder, PurePosixPath())
    }


def _files(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, path / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield path / entry.name.removesuffix(SUFFIX), entry


def _place(path: PurePosixPath, package: str) -> PurePosixPath:
    return PurePosixPath(*(package if part == "package" else part for part in path.parts))
