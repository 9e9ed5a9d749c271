"""Checks built distributions: the types marker, the licence, no stray files, and the links of the README."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

BORROWED_NAMES: Final[Mapping[str, frozenset[str]]] = {"cosmo_compat": frozenset({"cosmonapse", "orbiter"})}
"""The packages of a distribution whose purpose is to provide other import names."""

DATA: Final[Mapping[str, str]] = {"cosmo_core_cli": "-tpl", "cosmo_engram_postgres": ".sql"}
"""The suffix of the data files of a package."""

LINK: Final = re.compile(r"\]\((?!https?://|#)([^)\s]+)\)")
"""A link to a file, in Markdown."""

CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)

IN_AN_SDIST: Final = frozenset({".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"})


def faults(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        files = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
        description = "".join(archive.read(str(file)).decode() for file in files if file.name == "METADATA")
    metadata = [file for file in files if file.parts[0].endswith(".dist-info")]
    code = [file for file in files if file not in metadata]
    name = wheel.name.partition("-")[0]
    packages = {file.parts[0] for file in code}
    if packages != BORROWED_NAMES.get(name, {name}):
        yield f"it contains {', '.join(sorted(packages)) or 'no package'}"
    for package in sorted(packages):
        if PurePosixPath(package, "py.typed") not in code:
            yield f"{package}/py.typed is missing"
    if not any(file.name == "LICENSE" for file in metadata):
        yield "the licence is missing"
    for target in LINK.findall(CODE.sub("", description)):
        yield f"its README links to {target}, which is not in the wheel"
    yield from _strays(code)


def sdist_faults(sdist: Path) -> Iterator[str]:
    """Yield what is wrong with a source distribution."""
    with tarfile.open(sdist) as archive:
        names = [PurePosixPath(member.name) for member in archive if member.isfile()]
    files = [PurePosixPath(*name.parts[1:]) for name in names]
    for name in sorted(IN_AN_SDIST - {".gitignore"} - {str(file) for file in files}):
        yield f"{name} is missing"
    name = sdist.name.partition("-")[0]
    code = [file for file in files if str(file) not in IN_AN_SDIST and file.parts[0] != "tests"]
    roots = {file.parts[0] for file in code}
    if roots not in ({"src"}, {name}):
        yield f"it contains {', '.join(sorted(roots)) or 'no code'}"
    yield from _strays(file.relative_to("src") if file.parts[0] == "src" else file for file in code)


def _strays(files: Iterable[PurePosixPath]) -> Iterator[str]:
    for file in files:
        data = DATA.get(file.parts[0])
        expected = file.suffix == ".py" or file.name == "py.typed" or (data and file.name.endswith(data))
        if not expected or "__pycache__" in file.parts:
            yield f"{file} is a stray file"


def main(folder: Path) -> int:
    """Check every wheel in a folder, and its sdist; return the exit status."""
    wheels = sorted(folder.glob("*.whl"))
    status = 0 if wheels else 1
    for wheel in wheels:
        found = list(faults(wheel))
        name, version = wheel.name.split("-")[:2]
        sdist = folder / f"{name}-{version}.tar.gz"
        if sdist.exists():
            found += [f"in its sdist, {fault}" for fault in sdist_faults(sdist)]
        else:
            found.append("its sdist is missing")
        sys.stdout.write(f"{wheel.name}: {'; '.join(found) or 'ok'}\n")
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
