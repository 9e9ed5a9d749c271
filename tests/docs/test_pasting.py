"""The snippets of pages for `python -m asyncio` paste into it as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmo_testing import ChatServer
from tests.docs.test_snippets import PASTED, snippets, with_servers

PRINTED = re.compile(r"^# (.*)$", re.MULTILINE)
"""What a snippet of the tutorial prints, in a comment below it."""

BOUND_S = 60


async def paste(blocks: list[str], folder: Path) -> str:
    """Paste blocks into `python -m asyncio`, each followed by Enter; return everything it shows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "asyncio"),
        cwd=folder,
        env={**os.environ, "HF_TOKEN": "hf_test", "TERM": "dumb"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            shown, _ = await process.communicate("".join(f"{block}\n" for block in blocks).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return shown.decode()


def test_pages_for_pasting_are_found() -> None:
    assert {"tutorial.md", "coordinating.md", "remembering.md"} <= {page.name for page in PASTED}


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.stem)
async def test_snippets_paste_as_they_stand(
    page: Path, server: ChatServer, nats_url: Callable[[], str], tmp_path: Path
) -> None:
    blocks = [with_servers(code, server, nats_url) for _, mark, code in snippets(page) if not mark]
    shown = await paste(blocks, tmp_path)
    # The log of a worker may show a traceback, too; this one ends at the prompt.
    assert not re.search(r"SyntaxError|IndentationError|in <module>", shown), shown
    position = 0
    for line in PRINTED.findall("\n".join(blocks)) if page.stem == "tutorial" else ():
        position = shown.find(line, position)
        assert position >= 0, f"not printed: {line}\n{shown}"
