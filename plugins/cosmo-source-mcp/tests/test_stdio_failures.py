"""Failures of a server that the Neuron starts."""

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


async def test_missing_command_error_gives_advice(make: Make, ask: Ask) -> None:
    with pytest.raises(NeuronError, match="'no-such-command' was not found; check command") as caught:
        await ask(make(command="no-such-command"), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


@pytest.mark.parametrize(("server", "package"), [("time", "uv"), ("memory", "Node.js")])
async def test_missing_launcher_error_names_the_package_to_install(
    make: Make, ask: Ask, tmp_path: Path, server: str, package: str
) -> None:
    with pytest.raises(NeuronError, match=f"install {package}") as caught:
        await ask(make(server=server, env={"PATH": str(tmp_path)}), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


async def test_slow_start_goes_on_after_the_first_call(by_hand: Make, ask: Ask, tmp_path: Path) -> None:
    neuron = by_hand("slow", tmp_path / "go", timeout=1)
    with pytest.raises(NeuronError, match="not ready within 1 s; it goes on starting") as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    pid = int((tmp_path / "go").read_text())
    (tmp_path / "go").unlink()
    outcome: Any = caught.value
    async with asyncio.timeout(30):
        while isinstance(outcome, NeuronError):  # under load, a start may take longer than one call may
            assert outcome.code == "PROVIDER_TIMEOUT"
            (outcome,) = await asyncio.gather(ask(neuron, "pid"), return_exceptions=True)
    assert outcome["result"] == {"pid": pid}


async def test_missing_folder_is_an_error(make: Make, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(NeuronError, match="gone': no such folder") as caught:
        await ask(make(command=sys.executable, cwd=tmp_path / "gone"), "fine")
    assert (caught.value.code, caught.value.recoverable) == ("SERVER_NOT_FOUND", False)


async def test_command_that_is_not_executable_is_an_error(make: Make, ask: Ask, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=FAULTS)
async def test_server_that_does_not_get_ready_is_an_error_and_the_next_call_restarts_it(
    by_hand: Make,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    expected: tuple[tuple[str, bool], str],
) -> None:
    monkeypatch.setattr("cosmo_source_mcp.process.GRACE_S", 60)  # such a server must not get a grace period
    # Long enough for the second start, and short where the first one times out.
    neuron = by_hand(fault, tmp_path / "seen", timeout=30, start_timeout=2 if fault == "mute" else 30)
    with pytest.raises(NeuronError, match=expected[1]) as caught:
        await ask(neuron, "fine")
    assert (caught.value.code, caught.value.recoverable) == expected[0]
    if fault == "endless":  # it is ready, so only closing it restarts it
        await neuron.aclose()
    assert (await ask(neuron, "fine"))["response"] == "fine"


@pytest.mark.parametrize("fault", ["chatty", "loud"])
async def test_other_output_of_a_server_is_ignored(by_hand: Make, ask: Ask, fault: str) -> None:
    assert (await ask(by_hand(fault), "fine"))["response"] == "fine"


UNUSABLE_ANSWERS = {
    "huge": (("PROVIDER_MALFORMED", False), "larger than the limit of 16 MiB"),
    "huge_with_id_last": (("PROVIDER_MALFORMED", False), "larger than the limit of 16 MiB"),
    "not_json": (("PROVIDER_MALFORMED", False), "malformed answer"),
    "half_a_surrogate": (("PROVIDER_MALFORMED", False), "malformed answer"),
    "not_a_number": (("PROVIDER_MALFORMED", False), "not JSON compliant"),
    "no_result": (("PROVIDER_MALFORMED", False), "malformed answer"),
    "broken_promise": (("PROVIDER_MALFORMED", False), "'n' is a required property"),
    "an_error": (("PROVIDER_ERROR", True), "answered with an error: out of order"),
}


@pytest.mark.parametrize(("tool", "expected"), UNUSABLE_ANSWERS.items(), ids=UNUSABLE_ANSWERS)
async def test_unusable_answer_ends_one_call(
    by_hand: Make, ask: Ask, tool: str, expected: tuple[tuple[str, bool], str]
) -> None:
    neuron = by_hand()
    pid = (await ask(neuron, "pid"))["result"]
    silent = asyncio.ensure_future(ask(neuron, "silence"))
    with pytest.raises(NeuronError, match=expected[1]) as caught:
        await ask(neuron, tool)
    assert (caught.value.code, caught.value.recoverable) == expected[0]
    assert len(str(caught.value)) < 1_500
    assert (await ask(neuron, "pid"))["result"] == pid
    assert not silent.done()
    silent.cancel()
    await asyncio.wait([silent])


async def test_huge_answer_without_an_id_ends_the_session(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    pid = (await ask(neuron, "pid"))["result"]
    with pytest.raises(NeuronError, match="larger than the limit of 16 MiB") as caught:
        await ask(neuron, "huge_without_id")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_MALFORMED", False)
    assert (await ask(neuron, "pid"))["result"] != pid


async def test_silent_server_times_out(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand(timeout=1)
    with pytest.raises(NeuronError, match="did not answer within 1 s") as caught:
        await ask(neuron, "silence")
    assert (caught.value.code, caught.value.recoverable) == ("PROVIDER_TIMEOUT", True)
    assert (await ask(neuron, "fine"))["response"] == "fine"


async def test_server_that_ends_fails_its_calls_and_is_restarted(by_hand: Make, ask: Ask) -> None:
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


async def test_invalid_schema_accepts_any_arguments(by_hand: Make, ask: Ask) -> None:
    output = await ask(by_hand(), "unresolvable", x=1)
    assert output["result"] == {"arguments": {"x": 1}}


async def test_tools_are_listed_again_after_the_server_reports_a_change(by_hand: Make, ask: Ask) -> None:
    neuron = by_hand()
    await ask(neuron, "fine")
    assert (await ask(neuron, "lists"))["result"] == {"lists": 1}
    await ask(neuron, "change")
    assert (await ask(neuron, "lists"))["result"] == {"lists": 2}
