"""The output of the example programs, and the list of examples."""

from __future__ import annotations

import ast
import asyncio
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cosmo_testing import ChatServer
from tests.docs.processes import run_to_end

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
PROGRAMS = sorted(FOLDER.glob("*.py"))
REPORT = FOLDER / "report.py"
LONGEST = 59

RunPython = Callable[..., Awaitable[tuple[int | None, str]]]
Run = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def run(run_python: RunPython) -> Run:
    """Run an example program and return the lines of its output."""

    async def run(name: str, **env: str) -> list[str]:
        status, printed = await run_python(FOLDER / name, **env)
        assert status == 0, printed
        return printed.splitlines()

    return run


@pytest.mark.parametrize("url", ["memory://", "zmq+ipc://{folder}/bus?hub=auto", "nats"])
async def test_three_agents_write_a_report_on_every_bus(
    run_python: RunPython, nats_url: Callable[[], str], tmp_path: Path, url: str
) -> None:
    url = nats_url() if url == "nats" else url.format(folder=tmp_path)
    status, printed = await run_python(REPORT, "tea", url)
    assert (status, printed) == (
        0,
        "What is tea? Read on. Where is tea? Read on. How old is tea? Read on. How good is tea? Read on. ",
    )


def test_report_is_at_most_34_lines() -> None:
    assert len(REPORT.read_text("utf-8").splitlines()) <= 34


async def test_ctrl_c_stops_all_agents_of_the_report() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", REPORT, "tea " * 200),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.read(4) == b"What"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(1):
            printed = await process.stdout.read()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert printed.rstrip().endswith(b"KeyboardInterrupt")
    assert b"took too long" not in printed


async def test_capability_routing_selects_the_least_busy_neuron(run: Run) -> None:
    assert await run("capability_routing.py") == [
        "french: anna chloe",
        "contract 1 (french, legal) goes to chloe",
        "contract 2 (french, legal) goes to chloe",
        "email 1 (french) goes to anna",
        "email 2 (french) goes to anna",
        "contract 1, translated by chloe",
        "contract 2, translated by chloe",
        "email 1, translated by anna",
        "email 2, translated by anna",
        "refused: no live Neuron with 'latin' in this namespace; known: french, german, legal",
    ]


async def test_next_best_bid_is_awarded_when_the_winner_fails(run: Run) -> None:
    offer, *bids, award, failure, second_award, output, decline = await run("bidding.py")
    assert offer.startswith("TASK_OFFER    everybody")
    assert {tuple(bid.split()[:2]) for bid in bids} == {
        ("BID", "hasty"),
        ("BID", "steady"),
        ("BID", "lavish"),
    }
    assert award.startswith("TASK_AWARDED  hasty")
    assert failure.startswith("ERROR         hasty")
    assert "out of paper" in failure
    assert second_award.startswith("TASK_AWARDED  steady")
    assert output == "AGENT_OUTPUT  steady    {'output': {'printed': '100 copies by steady'}}"
    assert decline == "TASK_DECLINED lavish    {'reason': 'another bid was selected'}"


async def test_back_pressure_slows_the_neuron_and_drops_nothing(run: Run) -> None:
    poem, whole, hasty, held = await run("streaming.py")
    assert whole == f"the whole answer: {{'response': {poem!r}}}"
    numbers = re.compile(
        r"backpressure=(\w+): (\d+) of 5200 words read, (\d+) missed, the poet (\d+) words ahead"
    )
    results = [found.groups() for line in (hasty, held) if (found := numbers.fullmatch(line))]
    (_, read, missed, ahead), (_, held_read, held_missed, held_ahead) = results
    assert int(read) < 5200
    assert int(missed) > 0
    assert (held_read, held_missed) == ("5200", "0")
    assert int(held_ahead) < int(ahead)


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ("", "Nothing is booked, and nothing is paid."),
        ("\n\n", "Nothing is booked, and nothing is paid."),
        ("someday\nTuesday\nyes\n", "the blue boat is booked for tuesday, 55 euros are paid."),
        ("\nyes\n", "the blue boat is booked for monday, 40 euros are paid."),
    ],
    ids=["no-human", "defaults", "asks-again", "granted"],
)
async def test_human_answers_until_the_work_can_continue(told: str, end: str) -> None:
    arguments = ("-W", "error", FOLDER / "asking_a_human.py")
    status, printed = await run_to_end(*arguments, stdin=told, within_s=30)
    assert status == 0, printed
    assert printed.count("Which day shall it be") == 1 + ("someday" in told)
    assert printed.count("May I pay") == 1
    assert printed.endswith(f"{end}\n")


async def test_toolbox_calls_tools_and_reports_errors(run: Run) -> None:
    *said, unfit, unknown = await run("mcp_toolbox.py")
    assert said == [
        "days_between: How many days there are from one date to another.",
        "longest_word: The longest word of a text.",
        "days_between: 29",
        "longest_word: wonderful",
    ]
    assert unfit.startswith("INPUT_INVALID: ")
    assert "17 is not of type 'string'" in unfit
    assert unknown.startswith("TOOL_NOT_FOUND: ")
    assert unknown.endswith("no tool 'hammer'; known: days_between, longest_word")


async def test_flask_edge_serves_a_neurons_answer_over_http(run: Run) -> None:
    assert await run("flask_edge.py") == [
        "POST /ask/shout: 200 {'response': 'HELLO, EDGE'}",
        "POST /ask/whisper: 503 {'error': \"no live Neuron with 'whisper' in this namespace; known: shout\"}",
    ]


def first_known(prompt: str) -> str:
    """Answer with the first fact in the prompt, as a model that reads it would."""
    known = re.search(r"<knowledge>\n  \[(?P<source>.+)\]: (?P<content>.+)", prompt)
    return f"{known['content']} ({known['source']})" if known else "I do not know."


async def test_retrieval_gives_the_model_the_nearest_entries(run: Run) -> None:
    async with ChatServer(reply=first_known) as server:
        near, far, answer = await run("retrieval.py", COSMO_ENDPOINT=server.url)
        (request,) = server.requests
    assert re.fullmatch(r"0\.\d\d timetable: The ferry leaves for the island at noon and at six\.", near)
    assert re.fullmatch(r"0\.\d\d menu: .+", far)
    assert float(near.split()[0]) > float(far.split()[0])
    assert answer == "The ferry leaves for the island at noon and at six. (timetable)"
    system, asked = request.json["messages"]
    assert "name its source" in system["content"]
    assert "When do ferries go to the islands?" in asked["content"]
    assert "Dogs" not in asked["content"]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_example_is_short_and_has_a_docstring(program: Path) -> None:
    text = program.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text))


def test_list_of_examples_is_complete_and_its_links_resolve() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    links = set(re.findall(r"\]\(([^)#:]+)\)", text))
    programs = {path.name for path in PROGRAMS}
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert programs | folders <= links
    assert [link for link in links if not (FOLDER / link).exists()] == []
