"""The programs of the README and the tutorial as files, for type checkers: `python programs.py FOLDER`."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
FENCED = re.compile(r"^```python *(?P<mark>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def write_programs(folder: Path) -> list[Path]:
    """Write each program to a file of its own; return the files.

    What a page pastes at the prompt of `python -m asyncio` becomes the body of one async function, because
    `await` is not allowed elsewhere in a file.
    """
    programs = {}
    for page in ("README.md", "docs/tutorial.md"):
        name = Path(page).stem.lower()
        pasted = []
        for number, found in enumerate(FENCED.finditer((CHECKOUT / page).read_text("utf-8"))):
            if found["mark"] or name == "readme":
                programs[f"{name}_{number}.py"] = found["code"]
            else:
                pasted.append(found["code"])
        if pasted:
            body = textwrap.indent("\n".join(pasted), "    ")
            programs[f"{name}_pasted.py"] = f"async def pasted() -> None:\n{body}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in programs.items():
        (folder / name).write_text(code, encoding="utf-8")
    return [folder / name for name in programs]


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]))
