"""Programs for cosmonapse run as they were written: an Engram, a Pathway in three shapes, shared load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Run


@pytest.mark.parametrize(
    ("program", "options", "printed"),
    [
        ("remember", (), "fresh\nremembered\n"),
        ("follow", (), "waited\nheard\nAGENT_OUTPUT\n"),
        # It leaves its workers and their pipes to the system.
        ("share_load", ("-W", "ignore::ResourceWarning"), "2 workers shared 20\n"),
    ],
)
async def test_program_runs_unchanged(program: str, options: tuple[str, ...], printed: str, run: Run) -> None:
    assert await run(Path(__file__).parent / "data" / f"{program}.py.txt", *options) == (0, printed)
