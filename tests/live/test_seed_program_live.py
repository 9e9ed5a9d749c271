"""The program of the project's specification with a real chat server, `transformers serve`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "plugins" / "cosmo-compat" / "tests" / "data" / "main.py.txt"
ENDPOINT = '    endpoint="https://router.huggingface.co",\n'

# The first test also makes the model and starts the server.
pytestmark = pytest.mark.timeout(300)


async def test_the_program_runs_with_only_its_endpoint_changed(endpoint: str, tmp_path: Path) -> None:
    written = PROGRAM.read_text(encoding="utf-8")
    assert written.count(ENDPOINT) == 1
    main = tmp_path / "main.py"
    main.write_text(written.replace(ENDPOINT, f'    endpoint="{endpoint}",\n'), encoding="utf-8")
    status, printed = await _run(main)
    assert (status, printed.split()[0]) == (0, "[AGENT_OUTPUT]"), printed
    assert len(printed.split()[1:]) == 128, "as many words as the program's max_new_tokens"


async def _run(program: Path) -> tuple[int | None, str]:
    """Run a program with warnings as errors; return its exit status and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", program),
        cwd=program.parent,
        env={**os.environ, "HF_TOKEN": "hf_test"},
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
    return process.returncode, printed.decode()
