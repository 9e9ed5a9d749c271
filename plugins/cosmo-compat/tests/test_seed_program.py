"""The promised program runs over real HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

from cosmo_testing import ChatServer

PROGRAM: Final = Path(__file__).parent / "data" / "main.py.txt"
WATCHDOG: Final = re.compile(r"^.* (?:has|had) blocked the event loop for .*\n", re.MULTILINE)
ENDPOINT: Final = '    endpoint="https://router.huggingface.co",\n'


async def test_program_runs_with_only_its_endpoint_changed(tmp_path: Path) -> None:
    written = PROGRAM.read_text(encoding="utf-8")
    assert written.count(ENDPOINT) == 1
    main = tmp_path / "main.py"
    async with ChatServer(api_key="hf_test", reply=lambda prompt: f"Heard: {prompt}") as server:
        changed = written.replace(ENDPOINT, f'    endpoint="{server.url}",\n')
        main.write_text(changed, encoding="utf-8")
        status, printed = await _run(main, HF_TOKEN="hf_test")
        asked = [request.json for request in server.requests]

    heard = "Heard: Say hello to a project called Cosmonapse in one line."
    assert (status, printed) == (0, f"[AGENT_OUTPUT] {heard}\n")
    assert [body["model"] for body in asked] == ["meta-llama/Llama-3.1-8B-Instruct"]


async def _run(program: Path, **env: str) -> tuple[int | None, str]:
    """Run a program with warnings as errors; return its exit status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(program)),
        cwd=program.parent,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # On a busy machine the watchdog of the event loop may report an import.
    return process.returncode, WATCHDOG.sub("", printed.decode())
