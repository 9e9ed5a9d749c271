"""Imports every installed module of this project, to find imports that no distribution declares.

`python -I importable.py`: isolated, so that nothing of the checkout is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "cosmo_context.testing": frozenset({"cosmo_testing", "hypothesis", "pytest"}),
    "cosmo_synapse_zmq.command": frozenset({"click"}),
}
"""What modules import beyond the requirements of their distributions, by the beginnings of their names."""


def import_everything() -> int:
    """Import every installed module of this project; return how many there are.

    Raises:
        ImportError: A module needs something that its distribution does not declare.
    """
    ours = [dist for dist in metadata.distributions() if dist.name.startswith("cosmo-")]
    packages = {path.parts[0] for dist in ours for path in dist.files or () if path.name == "py.typed"}
    modules = [name for package in sorted(packages) for name in (package, *_modules(package))]
    return sum(map(_imported, modules))


def _modules(package: str) -> Iterator[str]:
    for folder in importlib.import_module(package).__path__:
        for file in sorted(Path(folder).rglob("*.py")):
            if file.stem not in {"__init__", "__main__"}:
                yield ".".join((package, *file.relative_to(folder).with_suffix("").parts))


def _imported(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError as error:
        missing = (_root_of(error).name or "").partition(".")[0]
        if not any(module.startswith(name) and missing in needs for name, needs in OPTIONAL.items()):
            raise
        return False
    return True


def _root_of(error: ImportError) -> ImportError:
    while isinstance(error.__cause__, ImportError):
        error = error.__cause__
    return error


def main() -> int:
    """Import everything; return the exit status."""
    count = import_everything()
    sys.stdout.write(f"imported {count} modules\n")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
