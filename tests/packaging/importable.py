"""Imports every module of this project that is installed, to see that nothing is needed that nobody declared.

`python -I importable.py`: isolated, nothing of the checkout is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "cosmo_context.testing": frozenset({"hypothesis", "pytest"}),
    "cosmo_llm.http": frozenset({"httpx"}),
    "cosmo_testing": frozenset({"h11", "httpx", "hypothesis", "pytest"}),
    "cosmo_synapse_zmq.command": frozenset({"click"}),
}
"""What some modules need that their distributions do not require, by the beginnings of their names."""


def import_everything() -> int:
    """Import every module of this project that is installed; return how many they are.

    Raises:
        ImportError: One needs what nobody declared.
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
