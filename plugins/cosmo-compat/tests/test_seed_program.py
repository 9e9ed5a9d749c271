"""The promised program runs over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from tests.conftest import Run

PROGRAM: Final = Path(__file__).parent / "data" / "main.py.txt"
ENDPOINT: Final = '    endpoint="https://router.huggingface.co",\n'


async def test_program_runs_with_only_its_endpoint_changed(run: Run, tmp_path: Path) -> None:
    written = PROGRAM.read_text(encoding="utf-8")
    assert written.count(ENDPOINT) == 1
    main = tmp_path / "main.py"
    async with ChatServer(api_key="hf_test", reply=lambda prompt: f"Heard: {prompt}") as server:
        changed = written.replace(ENDPOINT, f'    endpoint="{server.url}",\n')
        main.write_text(changed, encoding="utf-8")
        status, printed = await run(main, HF_TOKEN="hf_test")
        asked = [request.json for request in server.requests]

    heard = "Heard: Say hello to a project called Cosmonapse in one line."
    assert (status, printed) == (0, f"[AGENT_OUTPUT] {heard}\n")
    assert [body["model"] for body in asked] == ["meta-llama/Llama-3.1-8B-Instruct"]
