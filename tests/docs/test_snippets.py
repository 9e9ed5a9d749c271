"""Every Python snippet of the documentation runs.

The snippets of a page run in order and in one namespace. Those of a page that says that they are for
`python -m asyncio` are pasted into it, in ``test_pasting.py``. A snippet that
needs a model server names HuggingFace's router, ``http://localhost:8080`` or Ollama's port 11434; the test
replaces that address by that of a fake chat server, and ``nats://127.0.0.1:4222`` by that of a NATS server. A
snippet that cannot run gives the reason on its fence: ``python not-run: needs a GPU``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from cosmo_engram_postgres.testing import NEEDED, find_postgres
from cosmo_testing import ChatServer
from tests.docs.programs import CHECKOUT, FENCED

PAGES = [
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *sorted((CHECKOUT / "plugins").glob("cosmo-*/README.md")),
]
ANY_PYTHON_FENCE = re.compile(r"^[ >]*(?:```|~~~)+ *py", re.MULTILINE | re.IGNORECASE)
SERVERS = re.compile(r"https://router\.huggingface\.co|http://localhost:(?:8080|11434)")

NATS = "nats://127.0.0.1:4222"

RunPython = Callable[..., Awaitable[tuple[int | None, str]]]


def snippets(page: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the mark and the code of each snippet of a page."""
    text = page.read_text("utf-8")
    for found in FENCED.finditer(text):
        yield text.count("\n", 0, found.start("code")), found["mark"], found["code"]


def with_servers(code: str, server: ChatServer, nats_url: Callable[[], str]) -> str:
    """Return a snippet with the addresses of servers that run in the test."""
    code = SERVERS.sub(server.url, code)
    return code.replace(NATS, nats_url()) if NATS in code else code


def _title(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


PASTED = [page for page in PAGES if "`python -m asyncio`" in page.read_text("utf-8")]
RUNNING = [page for page in PAGES if page not in PASTED and any(not mark for _, mark, _ in snippets(page))]
MARKED = [
    pytest.param(mark, code, id=f"{_title(page)}:{line}")
    for page in PAGES
    for line, mark, code in snippets(page)
    if mark
]


@pytest.mark.parametrize("page", RUNNING, ids=_title)
async def test_snippets_of_a_page_run(
    page: Path, server: ChatServer, nats_url: Callable[[], str], run_python: RunPython, tmp_path: Path
) -> None:
    files = []
    for line, mark, code in snippets(page):
        if not mark:
            files.append(tmp_path / f"{page.stem}-{line}.py")
            code = with_servers(code, server, nats_url)
            if "PostgresServer" in code and find_postgres() is None and not os.environ.get("CI"):
                pytest.skip(NEEDED)
            # Blank lines keep the line numbers of the page, so that a traceback points to it.
            files[-1].write_text("\n" * line + code, encoding="utf-8")

    status, printed = await run_python(Path(__file__).with_name("run_snippets.py"), *files)
    assert status == 0, printed


@pytest.mark.parametrize("page", PAGES, ids=_title)
def test_every_python_fence_is_collected(page: Path) -> None:
    assert len(list(snippets(page))) == len(ANY_PYTHON_FENCE.findall(page.read_text("utf-8")))


@pytest.mark.parametrize(("mark", "code"), MARKED)
def test_skipped_snippet_compiles_and_has_a_reason(mark: str, code: str) -> None:
    compile(code, "<snippet>", "exec")
    word, _, reason = mark.partition(" ")
    assert word == "not-run:"
    assert reason
    pytest.skip(f"not run: {reason}")
