"""`cosmo schema`, and `cosmo completion`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Invoke

from cosmo_core import SignalType
from cosmo_core_cli.schema import json_schema


def test_schema_is_that_of_the_payloads(invoke: Invoke) -> None:
    assert json.loads(invoke("schema").stdout) == json_schema()


@pytest.mark.parametrize("type", SignalType)
def test_each_type_has_the_schema_of_its_payload(invoke: Invoke, type: SignalType) -> None:
    schema = json.loads(invoke("schema", "--type", type).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["title"].upper() == type.replace("_", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(invoke: Invoke, shell: str) -> None:
    shown = invoke("completion", shell)
    assert shown.exit_code == 0
    assert f"_COSMO_COMPLETE={shell}_complete" in shown.stdout


@pytest.fixture
def complete(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], set[str]]:
    """Return the completions that bash offers at the end of a line."""

    def run(line: str) -> set[str]:
        words = line.split(" ")
        monkeypatch.setenv("_COSMO_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        shown = invoke()
        assert shown.stderr == ""
        return {item.partition(",")[2] for item in shown.stdout.split()}

    return run


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cosmo dis", {"dispatch"}),
        ("cosmo h", {"hub"}),
        ("cosmo schema --ty", {"--type"}),
        ("cosmo schema --type TASK_", {"TASK_OFFER", "TASK_AWARDED", "TASK_DECLINED"}),
        ("cosmo watch --synapse zm", {"zmq://", "zmq+ipc://"}),
        ("cosmo completion z", {"zsh"}),
        ("cosmo dispatch --neuron gr", set()),
        ("cosmo hub --clie", {"--clients"}),
    ],
)
def test_command_line_is_completed(complete: Callable[[str], set[str]], line: str, offered: set[str]) -> None:
    assert complete(line) == offered


def test_shell_completes_files(
    complete: Callable[[str], set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complete("cosmo run work") == {"work"}


def test_unreachable_bus_offers_no_completions(
    complete: Callable[[str], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMO_SYNAPSE", "zmq://127.0.0.1:1")
    monkeypatch.setattr("cosmo_core_cli.options.COMPLETION_TIMEOUT_S", 0.1)
    assert complete("cosmo dispatch --neuron gr") == set()
