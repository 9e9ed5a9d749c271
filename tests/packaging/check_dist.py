"""Looks into built wheels: the types marker, the licence, and not a file too many."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def faults(wheel: Path) -> Iterator[str]:
    """Say what is wrong with a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        files = [PurePosixPath(name) for name in archive.namelist()]
    packages = sorted({file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")})
    if not packages:
        yield "there is no package in it"
    for package in packages:
        if PurePosixPath(package, "py.typed") not in files:
            yield f"{package}/py.typed is missing"
    if not any(file.parts[0].endswith(".dist-info") and file.name == "LICENSE" for file in files):
        yield "the licence is missing"
    for file in files:
        is_metadata = file.parts[0].endswith(".dist-info")
        if not is_metadata and file.suffix != ".py" and file.name != "py.typed":
            yield f"{file} does not belong there"


def main(folder: Path) -> int:
    """Check every wheel in a folder, and that each has its sdist; return the exit status."""
    status = 0
    for wheel in sorted(folder.glob("*.whl")):
        found = list(faults(wheel))
        name, version = wheel.name.split("-")[:2]
        if not (folder / f"{name}-{version}.tar.gz").exists():
            found.append("its sdist is missing")
        sys.stdout.write(f"{wheel.name}: {'; '.join(found) or 'as it should be'}\n")
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
