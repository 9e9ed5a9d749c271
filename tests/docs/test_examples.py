"""The example programs run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cosmo_testing import ChatServer

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
GREETER = FOLDER / "greeter.py"

RunPython = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.mark.parametrize("example", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
async def test_example_runs(example: Path, server: ChatServer, run_python: RunPython) -> None:
    status, printed = await run_python(example, COSMO_ENDPOINT=server.url)
    assert status == 0, printed


async def test_greeter_prints_the_models_answer(server: ChatServer, run_python: RunPython) -> None:
    _, printed = await run_python(GREETER, COSMO_ENDPOINT=server.url)
    assert printed.startswith("[AGENT_OUTPUT] Hello, Cosmonapse!")
    assert server.received == 1


async def test_prompted_chat_composes_both_prompts(server: ChatServer, run_python: RunPython) -> None:
    status, printed = await run_python(FOLDER / "prompted.py", COSMO_ENDPOINT=server.url)
    assert status == 0, printed
    first, second = (request.json["messages"][-1]["content"] for request in server.requests)
    weather = "<weather>Current weather: rain, 14 °C</weather>"
    facts = "<facts>\n  - The user lives in Lisbon.\n</facts>"
    assert first.endswith(f"\nInput: Do I need an umbrella?\n</task_info>\n\n{facts}\n\n{weather}")
    assert "\n\n<conversation_history>\n[user]: Do I need an umbrella?\n[assistant]: " in second


async def test_researcher_computes_once_and_again_after_a_rollback(run_python: RunPython) -> None:
    status, printed = await run_python(FOLDER / "memory.py")
    assert status == 0, printed
    assert printed.splitlines() == [
        "computed: 303 primes",
        "cache: 303 primes",
        "undone: 1 write",
        "computed: 303 primes",
    ]


async def test_greeter_without_a_key_says_where_to_get_one(run_python: RunPython) -> None:
    status, printed = await run_python(GREETER, HF_TOKEN="")
    assert status == 1
    assert "HF_TOKEN" in printed.splitlines()[-1]
