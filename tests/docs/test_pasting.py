"""The snippets of pages for `python -m asyncio` paste into it as they stand."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmo_testing import ChatServer
from tests.docs.processes import run_to_end
from tests.docs.test_snippets import PASTED, snippets, with_servers

PRINTED = re.compile(r"^# (.*)$", re.MULTILINE)
"""What a snippet of the tutorial prints, in a comment below it."""


async def paste(blocks: list[str], folder: Path) -> str:
    """Paste blocks into `python -m asyncio`, each followed by Enter; return everything it shows."""
    env = {**os.environ, "HF_TOKEN": "hf_test", "TERM": "dumb"}
    typed = "".join(f"{block}\n" for block in blocks)
    _, shown = await run_to_end("-m", "asyncio", cwd=folder, env=env, stdin=typed)
    return shown


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
