"""What goes wrong with a server that runs here."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]


async def test_a_missing_command_is_told_with_what_to_do(make: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="'no-such-command' is not there; check command") as caught:
        await ask(make(command="no-such-command"), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


@pytest.mark.parametrize(("server", "bringer"), [("time", "uv"), ("memory", "Node.js")])
async def test_a_missing_launcher_is_told_with_what_brings_it(
    make: Make, ask: Ask, tmp_path: Path, server: str, bringer: str
) -> None:
    with pytest.raises(NeuronError, match=f"install {bringer}") as caught:
        await ask(make(server=server, env={"PATH": str(tmp_path)}), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


async def test_a_missing_folder_is_told(make: Make, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(NeuronError, match="gone': no such folder") as caught:
        await ask(make(command=sys.executable, cwd=tmp_path / "gone"), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


async def test_a_command_that_cannot_be_run_is_told(make: Make, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a program")
    with pytest.raises(NeuronError, match=r"cannot be started.*Permission denied") as caught:
        await ask(make(command=str(tmp_path / "data")), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_START_FAILED", False)


FAULTS = {
    "exit": (("SERVER_START_FAILED", False), "exit status 3; its stderr ends: no luck today"),
    "mute": (("PROVIDER_TIMEOUT", True), r"was not ready within 2 s"),
    "flood": (("PROVIDER_MALFORMED", False), "more than 100 lines that are not MCP.*I am not an MCP server"),
    "old": (("PROVIDER_MALFORMED", False), "Unsupported protocol version.*1999-01-01"),
    "endless": (("PROVIDER_MALFORMED", False), "more than 100 pages of tools"),
}


@pytest.mark.parametrize(("fault", "told"), FAULTS.items(), ids=FAULTS)
async def test_a_server_that_does_not_get_ready_is_told_and_the_next_call_starts_it_anew(
    by_hand: Make,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    told: tuple[tuple[str, bool], str],
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.process.GRACE_S", 60)  # which a server like that does not get
    # Long enough for the second start, and short where the first one is in vain.
    neuron = by_hand(fault, tmp_path / "seen", timeout=2 if fault == "mute" else 30)
    with pytest.raises(NeuronError, match=told[1]) as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == told[0]
    if fault == "endless":  # it is ready, and stays as it is
        await neuron.aclose()
    assert (await ask(neuron, "fine"))["response"] == "fine"


@pytest.mark.parametrize("fault", ["chatty", "loud"])
async def test_what_a_server_says_besides_does_no_harm(by_hand: Make, ask: Ask, fault: str) -> None:
    assert (await ask(by_hand(fault), "fine"))["response"] == "fine"


ODD_ANSWERS = {
    "huge": (("PROVIDER_MALFORMED", False), "larger than the 16 MiB"),
    "huge_with_id_last": (("PROVIDER_MALFORMED", False), "larger than the 16 MiB"),
    "not_json": (("PROVIDER_MALFORMED", False), "not understood"),
    "half_a_surrogate": (("PROVIDER_MALFORMED", False), "not understood"),
    "not_a_number": (("PROVIDER_MALFORMED", False), "not JSON compliant"),
    "no_result": (("PROVIDER_MALFORMED", False), "not understood"),
    "broken_promise": (("PROVIDER_MALFORMED", False), "'n' is a required property"),
    "an_error": (("PROVIDER_ERROR", True), "answered with an error: out of order"),
}


@pytest.mark.parametrize(("tool", "told"), ODD_ANSWERS.items(), ids=ODD_ANSWERS)
async def test_an_answer_that_cannot_be_used_costs_one_call_and_not_the_session(
    by_hand: Make, ask: Ask, tool: str, told: tuple[tuple[str, bool], str]
) -> None:
    neuron = by_hand()
    pid = (await ask(neuron, "pid"))["result"]
    silent = asyncio.ensure_future(ask(neuron, "silence"))
    with pytest.raises(NeuronError, match=told[1]) as caught:
        await ask(neuron, tool)
    assert (caught.value.code, caught.value.recoverable) == told[0]
    assert len(str(caught.value)) < 1_500
    assert (await ask(neuron, "pid"))["result"] == pid
    assert not silent.done()
    silent.cancel()
    await asyncio.wait([silent])


async def test_a_huge_answer_to_nobody_knows_whom_ends_the_session(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    pid = (await ask(neuron, "pid"))["result"]
    with pytest.raises(NeuronError, match="larger than the 16 MiB") as caught:
        await ask(neuron, "huge_without_id")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)
    assert (await ask(neuron, "pid"))["result"] != pid


async def test_no_answer_runs_into_the_time_limit(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand(timeout=1)
    with pytest.raises(NeuronError, match="did not answer within 1 s") as caught:
        await ask(neuron, "silence")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_a_server_that_dies_fails_the_calls_in_flight_and_is_started_anew(
    by_hand: Make, ask: Ask
) -> None:
    neuron = by_hand()
    await ask(neuron, "fine")
    calls = [asyncio.ensure_future(ask(neuron, tool)) for tool in ("silence", "silence", "die")]
    await asyncio.wait(calls)
    for call in calls:
        error = call.exception()
        assert isinstance(error, NeuronError)
        assert (error.code, error.recoverable) == ("PROVIDER_UNREACHABLE", True)
        assert "exit status 9" in str(error)
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_a_schema_that_is_itself_wrong_is_not_held_against_the_arguments(
    by_hand: Make, ask: Ask
) -> None:
    output = await ask(by_hand(), "unresolvable", x=1)
    assert output["result"] == {"arguments": {"x": 1}}


async def test_tools_are_listed_anew_when_the_server_says_that_they_changed(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    await ask(neuron, "fine")
    assert (await ask(neuron, "lists"))["result"] == {"lists": 1}
    await ask(neuron, "change")
    assert (await ask(neuron, "lists"))["result"] == {"lists": 2}
