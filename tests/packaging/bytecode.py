"""Gives a new environment the bytecode of an older one, for the files that both have.

`python bytecode.py older new`, with the folders of two environments. uv links each file of a distribution
from its cache, so both environments have the same file, and Python would only compile it once more.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def share_bytecode(older: Path, new: Path) -> int:
    """Link the compiled modules of one environment into another, and return how many.

    Args:
        older: The folder of an environment whose modules have been imported; it may be missing.
        new: The folder of an environment, just installed.
    """
    linked = 0
    for there in new.glob("lib/python*/site-packages"):
        here = older / there.relative_to(new)
        for cache in here.rglob("__pycache__"):
            folder = there / cache.parent.relative_to(here)
            for compiled in cache.iterdir():
                source = compiled.name.partition(".")[0] + ".py"
                with suppress(FileNotFoundError, FileExistsError):
                    if (folder / source).samefile(cache.parent / source):
                        (folder / cache.name).mkdir(exist_ok=True)
                        (folder / cache.name / compiled.name).hardlink_to(compiled)
                        linked += 1
    return linked


if __name__ == "__main__":
    share_bytecode(Path(sys.argv[1]), Path(sys.argv[2]))
