"""Checks that an environment has what a requirement needs and no more, and this project's part from files.

`python came_along.py SITE_PACKAGES 'cosmo-core[zmq]'`; it needs `packaging`, which the environment does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

COMES_WITH_VENV: Final = {"pip", "setuptools", "wheel"}


def declared(root: str, installed: Mapping[NormalizedName, Distribution]) -> set[NormalizedName]:
    """Return the names of all that a requirement needs, by the metadata of what is installed."""
    found: set[tuple[NormalizedName, str]] = set()
    pending = [Requirement(root)]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        # Each extra adds to what is required without one.
        for extra in {"", *requirement.extras}:
            if (name, extra) not in found:
                found.add((name, extra))
                pending += _requirements(installed.get(name), extra)
    return {name for name, _ in found}


def _requirements(distribution: Distribution | None, extra: str) -> Iterator[Requirement]:
    for text in (distribution.requires if distribution else None) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def faults(site: str, root: str) -> Iterator[str]:
    """Yield what is installed but not declared, declared but not installed, or from an index by mistake."""
    installed = {canonicalize_name(each.name): each for each in distributions(path=[site])}
    wanted = declared(root, installed)
    for name in sorted(installed.keys() - wanted - COMES_WITH_VENV):
        yield f"{name} is installed, but nothing requires it"
    for name in sorted(wanted - installed.keys()):
        yield f"{name} is required, but not installed"
    yield from from_index(site)


def from_index(site: str) -> Iterator[str]:
    """Yield this project's distributions that were not installed from a file or a folder."""
    for each in distributions(path=[site]):
        origin = json.loads(each.read_text("direct_url.json") or "{}").get("url", "")
        if each.name.startswith("cosmo-") and not origin.startswith("file:"):
            yield f"{each.name} {each.version} is from a package index"


def main(site: str, root: str) -> int:
    """Print what is wrong, or that nothing is; return the exit status."""
    found = list(faults(site, root))
    sys.stdout.write(f"{root}: {'; '.join(found) or 'has what it declares, and no more'}\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
