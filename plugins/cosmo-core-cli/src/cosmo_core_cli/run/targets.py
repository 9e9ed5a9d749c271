"""Finding the Axons and Engrams that the arguments of `cosmo run` name."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import attrs

from cosmo_core import Axon, CosmoError, Engram, engram_from_url
from cosmo_core.arguments import satisfies
from cosmo_core_cli.errors import UserError


@attrs.frozen
class Target:
    """The location of an object: a module, and a name in it.

    Attributes:
        folder: The folder that must be on `sys.path`.
        module: The name of the module.
        name: The name of the object in the module; it may have dots.
    """

    folder: Path
    module: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``module:name`` or ``path/to/file.py:name``.

        Raises:
            UserError: The text is neither, or the file does not exist.
        """
        place, _, name = text.rpartition(":")
        if not place or not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"{text!r} is not a target: write module:name, or path/to/file.py:name")
        if not place.endswith(".py"):
            return cls(Path.cwd(), place, name)
        file = Path(place)
        if not file.is_file():
            raise UserError(f"file {place} does not exist")
        return cls(file.resolve().parent, file.stem, name)

    def load(self) -> Any:
        """Import the module, and return the object.

        Raises:
            UserError: The module cannot be imported, or does not have the name.
        """
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        module = self._import_module()
        try:
            return reduce(getattr, self.name.split("."), module)
        except AttributeError:
            hint = _name_hint(self.name, module)
            raise UserError(f"module {self.module!r} has no attribute {self.name!r}; {hint}") from None

    def _import_module(self) -> ModuleType:
        try:
            return import_module(self.module)
        # SystemExit: a module may end the program when it is imported.
        except (Exception, SystemExit) as error:
            if _is_missing(self.module, error):
                raise UserError(
                    f"module {self.module!r} is neither in {self.folder} nor installed; change to "
                    "its folder, or give the path of its file"
                ) from error
            raise UserError(
                f"module {self.module!r} cannot be imported: {_place(error)}{type(error).__name__}: {error}; "
                "cosmo --debug run … shows more"
            ) from error


def watched_folders(targets: Iterable[Target]) -> list[Path]:
    """Return the folders whose files make up the modules of targets, without importing the modules."""
    return sorted({_watched_folder(target) for target in targets})


def axons_from(found: Any, name: str, *, call: bool = True) -> Iterator[Axon]:
    """Yield the Axons of an object: an Axon, a list of them, a Neuron, or a function that returns these.

    A Neuron becomes an Axon under its own name. A function that does not take (input, context) is a factory,
    and is called once.

    Args:
        found: The object.
        name: The name of the object.
        call: Whether a factory may be called.

    Raises:
        UserError: The object is not one of these.
    """
    if isinstance(found, Axon):
        yield found
    elif isinstance(found, list | tuple):
        for place, item in enumerate(found):
            yield from axons_from(item, getattr(item, "__name__", f"{name}-{place}"), call=call)
    elif callable(found) and not inspect.isclass(found) and _accepts(found, {}, []):
        yield _axon(found, name)
    elif call and inspect.isroutine(found) and not inspect.iscoroutinefunction(found) and _accepts(found):
        yield from axons_from(_call(found, name), name, call=False)
    else:
        raise UserError(
            f"{name!r} is {_type_name(found)}: name an Axon, a list of Axons, a Neuron, which takes "
            "(input, context), or a plain function without arguments that returns one of these"
        )


def check_distinct(axons: Iterable[Axon]) -> None:
    """Reject two Axons with the same id.

    Raises:
        UserError: Two Axons have the same id.
    """
    seen = set()
    for axon in axons:
        if axon.neuron_id in seen:
            raise UserError(
                f"two Axons have the id {axon.neuron_id!r}: one process hosts a Neuron once; start another "
                "process for a replica"
            )
        seen.add(axon.neuron_id)


def load_engram(text: str) -> Engram:
    """Return the Engram for ``URL,id`` or ``module:name``.

    Raises:
        UserError: The text is neither, the module cannot be imported, or the object is not an Engram.
        CosmoError: No plugin has the scheme, or the plugin rejects the URL.
    """
    if "://" not in text:
        return _engram_from(Target.parse(text).load(), text.rpartition(":")[2])
    url, comma, id = text.rpartition(",")
    if not comma or "/" in id:
        raise UserError(f"{text!r} has no id for the Engram: write URL,id, as in sqlite://,ctx")
    try:
        return engram_from_url(url, engram_id=id)
    except (TypeError, ValueError) as error:
        raise UserError(f"the Engram {url} cannot be created: {error}") from error


def _is_missing(module: str, error: BaseException) -> bool:
    """Tell whether the module itself, or a package that contains it, does not exist."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _place(error: BaseException) -> str:
    """Return where an import failed: the innermost line outside the import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if frame.filename.endswith(".py") and "<frozen" not in frame.filename]
    return f"{users[-1].filename}:{users[-1].lineno}: " if users else ""


def _name_hint(name: str, module: ModuleType) -> str:
    names = [each for each in vars(module) if not each.startswith("_")]
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names) or 'no attributes'}"


def _watched_folder(target: Target) -> Path:
    top = target.module.partition(".")[0]
    if (target.folder / f"{top}.py").is_file():
        return target.folder
    if (target.folder / top).is_dir():
        return target.folder / top
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return target.folder
    return Path(spec.origin).parent


def _axon(neuron: Any, name: str) -> Axon:
    try:
        return Axon(neuron_id=name.rpartition(".")[2], neuron_fn=neuron)
    except (CosmoError, TypeError, ValueError) as error:
        raise UserError(f"{name!r} cannot be hosted as it is: {error}; make an Axon of it") from error


def _engram_from(found: Any, name: str) -> Engram:
    engram = _call(found, name) if callable(found) and not satisfies(found, Engram) else found
    if not satisfies(engram, Engram):
        raise UserError(f"{name!r} is {_type_name(engram)}: name an Engram, or a function that returns one")
    return engram


def _call(function: Any, name: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise UserError(f"calling {name!r} failed: {type(error).__name__}: {error}") from error


def _accepts(function: Any, *arguments: Any) -> bool:
    """Tell whether a function accepts these positional arguments; keyword arguments are ignored."""
    try:
        inspect.signature(function).bind_partial(*arguments)
    except TypeError:
        return False
    except ValueError:
        # A built-in function without a signature.
        return True
    return True


def _type_name(found: Any) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
