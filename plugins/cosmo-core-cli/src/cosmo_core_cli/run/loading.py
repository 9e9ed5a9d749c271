"""From ``module:name`` to the object."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import attrs

from cosmo_core_cli.failing import Mistake


@attrs.frozen
class Target:
    """Where an object is.

    Attributes:
        folder: What has to be on `sys.path` for it.
        module: The module, as it is imported.
        name: Its name there, maybe with dots.
    """

    folder: Path
    module: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``module:name`` or ``path/to/file.py:name``.

        Raises:
            Mistake: It is neither, or there is no such file.
        """
        place, _, name = text.rpartition(":")
        if not place or not all(part.isidentifier() for part in name.split(".")):
            raise Mistake(f"{text!r} does not say what to run: write module:name, or path/to/file.py:name")
        if not place.endswith(".py"):
            return cls(Path.cwd(), place, name)
        file = Path(place)
        if not file.is_file():
            raise Mistake(f"there is no file {place}")
        return cls(file.resolve().parent, file.stem, name)

    def load(self) -> Any:
        """Import the module, and return the object.

        Raises:
            Mistake: The module does not import, or has no such name.
        """
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        module = self._imported()
        try:
            return reduce(getattr, self.name.split("."), module)
        except AttributeError:
            raise Mistake(f"module {self.module!r} has no {self.name!r}{_meant(self.name, module)}") from None

    def _imported(self) -> ModuleType:
        try:
            return import_module(self.module)
        # SystemExit: a module that ends the program when it is imported is no module to host.
        except (Exception, SystemExit) as error:
            if _is_absent(self.module, error):
                raise Mistake(
                    f"there is no module {self.module!r} in {self.folder} or installed; go to its folder, "
                    "or give the path of its file"
                ) from error
            raise Mistake(
                f"module {self.module!r} does not import: {_place(error)}{type(error).__name__}: {error}; "
                "cosmo --debug run … shows more"
            ) from error


def _is_absent(module: str, error: BaseException) -> bool:
    """Tell whether it is the module itself that is missing, or a package it would be in."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _place(error: BaseException) -> str:
    """Return where an import failed: the innermost line that is not of the import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if frame.filename.endswith(".py") and "<frozen" not in frame.filename]
    return f"{users[-1].filename}:{users[-1].lineno}: " if users else ""


def _meant(name: str, module: ModuleType) -> str:
    names = [each for each in vars(module) if not each.startswith("_")]
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(names) or 'nothing'}"


def watched_folders(targets: Iterator[Target] | list[Target]) -> list[Path]:
    """Return the folders of the modules, importing none: where a change means another program."""
    return sorted({_folder(target) for target in targets})


def _folder(target: Target) -> Path:
    top = target.module.partition(".")[0]
    if (target.folder / f"{top}.py").is_file():
        return target.folder
    if (target.folder / top).is_dir():
        return target.folder / top
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return target.folder
    return Path(spec.origin).parent
