"""User errors: one line with a remedy on stderr, and exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Invoke

from cosmo_core_cli.dispatch import MAX_STDIN

Refused = Callable[..., str]
BUS = ("--synapse", "zmq://127.0.0.1:1", "--synapse-option", "connect_timeout_s=0.05")
BUS_COMMANDS = (("dispatch", "hi", "--neuron", "x"), ("neurons",), ("watch",), ("answer",), ("chat", "x"))


@pytest.mark.parametrize("command", BUS_COMMANDS, ids=lambda command: command[0])
def test_missing_bus_names_the_option(refused: Refused, command: tuple[str, ...]) -> None:
    assert "Give --synapse URL, or set COSMO_SYNAPSE" in refused(*command)


@pytest.mark.parametrize("command", BUS_COMMANDS, ids=lambda command: command[0])
def test_memory_bus_is_rejected_between_processes(refused: Refused, command: tuple[str, ...]) -> None:
    said = refused(*command, env={"COSMO_SYNAPSE": "memory://"})
    assert "memory:// ends with this process" in said
    assert "zmq://" in said


@pytest.mark.parametrize("command", BUS_COMMANDS, ids=lambda command: command[0])
def test_unreachable_bus_error_tells_how_to_start_a_hub(refused: Refused, command: tuple[str, ...]) -> None:
    said = refused(*command, *BUS)
    assert "no hub at zmq://127.0.0.1:1" in said
    assert "start one: " in said


def test_unknown_scheme_of_a_bus_is_an_error_without_secrets(refused: Refused) -> None:
    said = refused("neurons", "--synapse", "pigeon://ann:s3cret@coop")
    assert "no Synapse named 'pigeon' is installed" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("url", ["zmq", "zmq://", "zmq://[", "zmq://host:port"])
def test_malformed_url_is_rejected(refused: Refused, url: str) -> None:
    refused("neurons", "--synapse", url)


def test_unknown_synapse_option_is_rejected(refused: Refused) -> None:
    assert "'colour'" in refused("neurons", *BUS, "--synapse-option", "colour=blue")


def test_malformed_synapse_option_is_not_repeated(refused: Refused) -> None:
    said = refused("neurons", *BUS, "--synapse-option", "s3cret")
    assert "NAME=VALUE" in said
    assert "s3cret" not in said


def test_namespace_that_is_not_a_token_is_rejected(refused: Refused) -> None:
    assert "namespace" in refused(
        "run", "--engram", "sqlite://,x", "--synapse", "memory://", "--namespace", "a.b"
    )


# --- dispatch ---------------------------------------------------------------------------------------


def test_dispatch_requires_a_neuron_or_a_capability(refused: Refused) -> None:
    assert "--neuron ID, or --capability NAME" in refused("dispatch", "hi", *BUS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[1]"], "--input is not a JSON object but list"),
        (["--input", "{" + '"a":[' * 100_000], "--input is"),
        (['{"prompt": }'], "INPUT is not JSON"),
        ([], "exactly one input is required"),
        (["hi", "--input", "{}"], "exactly one input is required"),
    ],
)
def test_invalid_input_names_source_and_fault(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused("dispatch", "--neuron", "x", *BUS, *arguments)


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b'{"a": 1', "stdin is not JSON"),
        (b"\xff", "stdin is not UTF-8"),
        (b"x" * (MAX_STDIN + 1), "stdin has more than"),
    ],
    ids=["json", "utf-8", "long"],
)
def test_invalid_stdin_is_rejected(refused: Refused, stdin: bytes, said: str) -> None:
    assert said in refused("dispatch", "-", "--neuron", "x", *BUS, input=stdin)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_timeout_must_be_positive(refused: Refused, timeout: str) -> None:
    assert "--timeout" in refused("dispatch", "hi", "--neuron", "x", *BUS, "--timeout", timeout)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e10"])
def test_time_out_of_range_names_the_range(refused: Refused, seconds: str) -> None:
    reason = f"'{seconds}' is not a number of seconds"
    shown = refused("dispatch", "hi", "--neuron", "x", *BUS, "--timeout", seconds)
    assert f"{reason} above 0 and at most 1e+09. See 'cosmo dispatch --help'." in shown
    shown = refused("run", "m:x", *BUS, "--grace", seconds)
    assert f"{reason} of at least 0 and at most 1e+09. See 'cosmo run --help'." in shown


def test_help_shows_no_range_of_a_time(invoke: Invoke) -> None:
    assert "[default:" in (shown := invoke("dispatch", "--help").stdout)
    assert "<" not in shown


def test_missing_argument_is_a_sentence(refused: Refused) -> None:
    assert "zsh, fish. See 'cosmo completion --help'." in refused("completion")


# --- run --------------------------------------------------------------------------------------------


def test_run_requires_a_target_or_an_engram(refused: Refused) -> None:
    assert "Name module:axon" in refused("run", *BUS)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("workers", "write module:name"),
        (":x", "write module:name"),
        ("workers:a-b", "write module:name"),
        ("no_such_module:x", "module 'no_such_module' is neither in "),
        ("no_such_module.part:x", "module 'no_such_module.part' is neither in "),
        ("gone.py:x", "file gone.py does not exist"),
        ("workers:greter", "did you mean 'greeter'?"),
        ("workers:nothing", "'nothing' is of type NoneType"),
        ("workers:Thing", "'Thing' is the class Thing"),
        ("workers:late", "'late' is of type function: name an Axon"),
        ("workers:fails", "calling 'fails' failed: KeyError: 'x'"),
        ("workers:remembers", "'remembers' cannot be hosted as it is"),
        ("missing:x", "missing.py:2: ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("broken:x", "broken.py:1: SyntaxError"),
        ("leaves.py:x", "leaves.py:2: SystemExit: 3"),
    ],
)
def test_invalid_target_states_the_cause(refused: Refused, project: Path, target: str, said: str) -> None:
    (project / "workers.py").write_text(
        "nothing = None\n"
        "class Thing: ...\n"
        "async def greeter(input, context): ...\n"
        "async def late(): ...\n"
        "def fails(): raise KeyError('x')\n"
        "async def remembers(input, context, *, recall): ...\n"
    )
    (project / "missing.py").write_text("\nimport no_such_dependency\n")
    (project / "broken.py").write_text("x = (\n")
    (project / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    assert said in refused("run", target, *BUS)


def test_duplicate_neuron_is_rejected(refused: Refused, project: Path) -> None:
    (project / "workers.py").write_text("async def greeter(input, context): ...\n")
    assert "two Axons have the id 'greeter'" in refused("run", "workers:greeter", "workers.py:greeter", *BUS)


@pytest.mark.parametrize(
    ("engram", "said"),
    [
        ("sqlite://", "write URL,id"),
        ("sqlite:///a.db", "write URL,id"),
        ("pigeon://,ctx", "no Engram named 'pigeon'"),
        ("sqlite://,a.b", "engram_id"),
        ("workers:nothing", "name an Engram"),
    ],
)
def test_invalid_engram_states_the_cause(refused: Refused, project: Path, engram: str, said: str) -> None:
    (project / "workers.py").write_text("nothing = None\n")
    assert said in refused("run", "--engram", engram, "--synapse", "memory://")


# --- others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--type", "TASKS"], "--type"),
        (["--trace", "x"], "trace_id: 'x' is not a valid trace id"),
        (["--neuron", "a b"], "--neuron"),
        (["--count", "0"], "--count"),
    ],
)
def test_invalid_filter_is_rejected(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused("watch", *BUS, *arguments)


def test_unreadable_file_is_rejected(refused: Refused, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused("validate", str(tmp_path / "gone"))
    assert "is a directory" in refused("validate", str(tmp_path))


def test_unknown_type_error_lists_the_types(refused: Refused) -> None:
    assert " AGENT_OUTPUT," in refused("schema", "--type", "X")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("TAKS", "TASK"), ("tsak", "TASK"), ("AGENT_OUPUT", "AGENT_OUTPUT"), ("Heartbeats", "HEARTBEAT")],
)
@pytest.mark.parametrize("command", ["watch", "schema"])
def test_misspelt_type_is_corrected(refused: Refused, command: str, given: str, meant: str) -> None:
    bus = BUS if command == "watch" else ()
    said = refused(command, *bus, "--type", given)
    assert f"{given!r} is not a Signal type; did you mean {meant}? See" in said
    assert "PERMISSION_DECISION" not in said


def test_type_may_be_in_lower_case(invoke: Invoke) -> None:
    assert invoke("schema", "--type", "task").stdout == invoke("schema", "--type", "TASK").stdout


@pytest.mark.parametrize("url", ["127.0.0.1:7271", "localhost:7071", "[::1]:7071", "hub.example:7071"])
def test_address_without_a_scheme_is_completed(refused: Refused, url: str) -> None:
    assert f"did you mean zmq://{url}?" in refused("neurons", "--synapse", url)


def test_address_without_a_scheme_shows_no_password(refused: Refused) -> None:
    assert "s3cret" not in refused("neurons", "--synapse", "ann:s3cret@host:7071")


def test_argument_of_python_is_named_as_an_option(refused: Refused) -> None:
    said = refused("neurons", "--synapse", "zmq://10.0.0.1:7071")
    assert said.endswith(" or --synapse-option insecure=true\n")
    said = refused("hub", "zmq://0.0.0.0:0")
    assert said.endswith(" or --insecure\n")


def test_interactive_dispatch_cannot_read_its_input_from_stdin(refused: Refused) -> None:
    assert "INPUT cannot be -" in refused("dispatch", "-", "--interactive", "--neuron", "x", *BUS)


def test_one_neuron_cannot_be_watched(refused: Refused) -> None:
    assert "--watch shows all Neurons" in refused("neurons", "greeter", "--watch", *BUS)


def test_interrupt_has_its_message_and_status(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cosmo_core_cli.schema.json_schema", interrupt)
    interrupted = invoke("schema")
    assert (interrupted.exit_code, interrupted.stderr) == (130, "cosmo: interrupted\n")
