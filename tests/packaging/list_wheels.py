"""Writes requirement files for the wheels in a folder: one for each extra of the core, and one for all.

`python list_wheels.py dist`, and then `pip install -r dist/zmq.txt`. A file names the path of each wheel that
an extra needs. So pip takes no distribution of the same name from a package index.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

import attrs
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

CORE: Final = canonicalize_name("cosmo-core")


@attrs.frozen
class Wheel:
    """A wheel: its path, its extras, and its requirements."""

    path: Path
    extras: frozenset[str]
    requirements: tuple[Requirement, ...]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read the metadata of a wheel."""
        with zipfile.ZipFile(path) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
            metadata = HeaderParser().parsestr(archive.read(name).decode())
        requirements = map(Requirement, metadata.get_all("Requires-Dist", []))
        return cls(path, frozenset(metadata.get_all("Provides-Extra", [])), tuple(requirements))

    def required(self, extra: str = "") -> Iterable[NormalizedName]:
        """Return the names of what it requires, or of what an extra requires too."""
        return [
            canonicalize_name(each.name)
            for each in self.requirements
            if each.marker is None or each.marker.evaluate({"extra": extra})
        ]


def closure(wheels: Mapping[NormalizedName, Wheel], names: Iterable[NormalizedName]) -> list[NormalizedName]:
    """Return names of wheels, after the wheels that they require."""
    found: dict[NormalizedName, None] = {}
    for name in names:
        if name in wheels and name not in found:
            found |= dict.fromkeys(closure(wheels, wheels[name].required()))
            found[name] = None
    return list(found)


def main(folder: Path) -> int:
    """Write the files; return the exit status."""
    paths = sorted(folder.resolve().glob("*.whl"))
    wheels = {canonicalize_name(path.name.partition("-")[0]): Wheel.read(path) for path in paths}
    lists: dict[str, Iterable[NormalizedName]] = {"all": wheels}
    lists |= {extra: wheels[CORE].required(extra) for extra in wheels[CORE].extras}
    for extra, names in lists.items():
        lines = [f"{name} @ {wheels[name].path.as_uri()}\n" for name in closure(wheels, [CORE, *names])]
        (folder / f"{extra}.txt").write_text("".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
