"""What a user can do wrong is one line, exit status 2, and what to try."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cosmo_core_cli.inputs import MAX_STDIN
from tests.conftest import Invoke

Refused = Callable[..., str]
BUS = ("--synapse", "zmq://127.0.0.1:1", "--synapse-option", "connect_timeout_s=0.05")
ASKING = (("dispatch", "hi", "--neuron", "x"), ("neurons",), ("watch",), ("ask",))


@pytest.mark.parametrize("command", ASKING, ids=lambda command: command[0])
def test_no_bus_says_how_to_name_one(refused: Refused, command: tuple[str, ...]) -> None:
    assert "Give --synapse URL, or set COSMO_SYNAPSE" in refused(*command)


@pytest.mark.parametrize("command", ASKING, ids=lambda command: command[0])
def test_memory_is_no_bus_between_processes(refused: Refused, command: tuple[str, ...]) -> None:
    said = refused(*command, env={"COSMO_SYNAPSE": "memory://"})
    assert "memory:// ends with this process" in said
    assert "zmq://" in said


@pytest.mark.parametrize("command", ASKING, ids=lambda command: command[0])
def test_an_unreachable_bus_says_how_to_start_one(refused: Refused, command: tuple[str, ...]) -> None:
    said = refused(*command, *BUS)
    assert "no hub at zmq://127.0.0.1:1" in said
    assert "start one: " in said


def test_a_bus_that_no_plugin_reaches_says_what_to_install(refused: Refused) -> None:
    said = refused("neurons", "--synapse", "pigeon://ann:s3cret@coop")
    assert "no Synapse named 'pigeon' is installed" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("url", ["zmq", "zmq://", "zmq://[", "zmq://host:port"])
def test_a_url_that_is_none_is_a_mistake(refused: Refused, url: str) -> None:
    refused("neurons", "--synapse", url)


def test_a_synapse_option_that_it_does_not_take_is_a_mistake(refused: Refused) -> None:
    assert "'colour'" in refused("neurons", *BUS, "--synapse-option", "colour=blue")


def test_a_synapse_option_without_a_value_is_not_repeated(refused: Refused) -> None:
    said = refused("neurons", *BUS, "--synapse-option", "s3cret")
    assert "NAME=VALUE" in said
    assert "s3cret" not in said


def test_a_namespace_that_is_no_token_is_a_mistake(refused: Refused) -> None:
    assert "namespace" in refused(
        "run", "--engram", "sqlite://,x", "--synapse", "memory://", "--namespace", "a.b"
    )


# --- dispatch ---------------------------------------------------------------------------------------


def test_who_is_to_do_it_has_to_be_said(refused: Refused) -> None:
    assert "--neuron ID, or --capability NAME" in refused("dispatch", "hi", *BUS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[1]"], "--input is no JSON object but list"),
        (["--input", "{" + '"a":[' * 100_000], "--input is"),
        (['{"prompt": }'], "INPUT is not JSON"),
        ([], "what is the input?"),
        (["hi", "--input", "{}"], "what is the input?"),
    ],
)
def test_wrong_json_says_where_and_what_to_write(refused: Refused, arguments: list[str], said: str) -> None:
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
def test_stdin_that_cannot_be_read_is_a_mistake(refused: Refused, stdin: bytes, said: str) -> None:
    assert said in refused("dispatch", "-", "--neuron", "x", *BUS, input=stdin)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_is_positive(refused: Refused, timeout: str) -> None:
    assert "--timeout" in refused("dispatch", "hi", "--neuron", "x", *BUS, "--timeout", timeout)


# --- run --------------------------------------------------------------------------------------------


def test_what_is_to_be_hosted_has_to_be_said(refused: Refused) -> None:
    assert "Name module:axon" in refused("run", *BUS)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("workers", "write module:name"),
        (":x", "write module:name"),
        ("workers:a-b", "write module:name"),
        ("no_such_module:x", "there is no module 'no_such_module'"),
        ("no_such_module.part:x", "there is no module 'no_such_module.part'"),
        ("gone.py:x", "there is no file gone.py"),
        ("workers:greter", "did you mean 'greeter'?"),
        ("workers:nothing", "'nothing' is of type NoneType"),
        ("workers:Thing", "'Thing' is the class Thing"),
        ("workers:late", "'late' is of type function: name an Axon"),
        ("workers:fails", "'fails' failed when it was called: KeyError: 'x'"),
        ("workers:remembers", "'remembers' cannot be hosted by itself"),
        ("missing:x", "missing.py:2: ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("broken:x", "broken.py:1: SyntaxError"),
        ("leaves.py:x", "leaves.py:2: SystemExit: 3"),
    ],
)
def test_what_cannot_be_hosted_says_why(refused: Refused, project: Path, target: str, said: str) -> None:
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


def test_one_neuron_twice_is_a_mistake(refused: Refused, project: Path) -> None:
    (project / "workers.py").write_text("async def greeter(input, context): ...\n")
    assert "two Axons are called 'greeter'" in refused("run", "workers:greeter", "workers.py:greeter", *BUS)


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
def test_an_engram_that_is_none_says_why(refused: Refused, project: Path, engram: str, said: str) -> None:
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
def test_a_filter_that_admits_nothing_is_a_mistake(refused: Refused, arguments: list[str], said: str) -> None:
    assert said in refused("watch", *BUS, *arguments)


def test_a_file_that_is_not_there_is_a_mistake(refused: Refused, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused("validate", str(tmp_path / "gone"))
    assert "is a directory" in refused("validate", str(tmp_path))


def test_a_type_that_is_none_lists_those_there_are(refused: Refused) -> None:
    assert "'AGENT_OUTPUT'" in refused("schema", "--type", "X")


def test_interrupting_is_said_and_has_its_status(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cosmo_core_cli.schema.json_schema", interrupt)
    interrupted = invoke("schema")
    assert (interrupted.exit_code, interrupted.stderr) == (130, "cosmo: interrupted\n")
