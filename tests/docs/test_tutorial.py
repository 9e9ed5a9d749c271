"""The files and commands of the tutorial, each run in a separate process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.docs.processes import run_to_end

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
SAVED = re.compile(
    r"[Ss]ave (?:this|it) as `(?P<name>\w+\.py)`:\n\n```python[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILES = {found["name"]: found["code"] for found in SAVED.finditer(PAGE)}


class Folder:
    """The folder of the reader, with the files of the tutorial."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name, code in FILES.items():
            (path / name).write_text(code, encoding="utf-8")

    @asynccontextmanager
    async def started(self, *arguments: str) -> AsyncIterator[str]:
        """Start Python, yield its first line of output, and terminate it at the end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=self.path, env=self.env, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                yield (await process.stdout.readline()).decode().strip()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                await process.communicate()
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def printed(self, *arguments: str) -> list[str]:
        """Run Python to its end, and return its lines of output."""
        status, printed = await run_to_end(*arguments, cwd=self.path, env=self.env, within_s=30)
        assert status == 0, printed
        return printed.splitlines()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    """The folder of the reader, with the hub and the worker of the tutorial running."""
    folder = Folder(tmp_path)
    async with AsyncExitStack() as stack:
        hub = folder.started("-m", "cosmo_core_cli", "hub", "zmq://127.0.0.1:0")
        folder.env["COSMO_SYNAPSE"] = (await stack.enter_async_context(hub)).removeprefix("hub at ")
        worker = ("-m", "cosmo_core_cli", "run", "worker:axons", "--engram", "sqlite:///reports.db,reports")
        await stack.enter_async_context(folder.started(*worker))
        yield folder


def test_page_has_both_files() -> None:
    assert sorted(FILES) == ["orchestrator.py", "worker.py"]


async def test_orchestrator_prints_the_report_of_the_page(folder: Folder) -> None:
    shown = re.search(r"^\$ python orchestrator\.py tea\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    printed = await folder.printed("orchestrator.py", "tea")
    assert [line.rstrip() for line in printed] == shown[1].splitlines()
    assert (folder.path / "reports.db").is_file()


async def test_commands_list_neurons_and_print_answers(folder: Folder) -> None:
    neurons = "\n".join(await folder.printed("-m", "cosmo_core_cli", "neurons"))
    for name in ("outline", "write", "archive", "reports"):
        assert name in neurons

    planned = await folder.printed(
        "-m", "cosmo_core_cli", "dispatch", "--neuron", "outline", '{"topic": "tea"}'
    )
    assert "what tea costs" in "\n".join(planned)
    command = ("-m", "cosmo_core_cli", "dispatch", "--capability", "write", '{"point": "tea"}')
    assert "Much can be said about tea." in "\n".join(await folder.printed(*command))
