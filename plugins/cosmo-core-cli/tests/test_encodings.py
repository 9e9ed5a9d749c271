"""Encodings at the edges: byte order marks of the input, and terminals without the characters of a text."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Invoke

from cosmo_core import Signal, SignalType, encode
from cosmo_core_cli.dispatch import parse_input
from cosmo_core_cli.output import print_json, print_json_line

Refused = Callable[..., str]


@pytest.mark.parametrize(("text", "task"), [(b'{"a": 1}', {"a": 1}), (b"hi", {"prompt": "hi"})])
def test_byte_order_mark_of_stdin_is_ignored(
    monkeypatch: pytest.MonkeyPatch, text: bytes, task: dict[str, object]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BOM_UTF8 + text)))
    assert parse_input("-", None) == task


def test_byte_order_mark_of_a_file_is_ignored(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "signals").write_bytes(BOM_UTF8 + encode(Signal.new(SignalType.TASK, {"input": {}})))
    result = invoke("validate", str(tmp_path / "signals"))
    assert (result.exit_code, result.stderr) == (0, "Signals: 1, faults: 0\n")


def test_text_that_the_terminal_cannot_encode_is_escaped(tmp_path: Path) -> None:
    # Another process, since the interpreter opens stdout.
    text = "é → 🙂"
    signal = Signal.new(SignalType.TASK, {"input": {}})
    (tmp_path / "signals").write_bytes(encode(signal).replace(signal.id.encode(), text.encode()))
    found = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", "cosmo_core_cli", "validate", str(tmp_path / "signals")],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert b"'\xe9 \\u2192 \\U0001f642' is not a valid Signal id" in found.stdout


def test_json_is_utf8_on_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stdout)
    document = {"text": "é → 🙂", "half": "\ud83d"}
    print_json_line(document)
    print_json(document)
    stdout.flush()
    line, *rest = stdout.buffer.getvalue().splitlines()
    assert "é → 🙂".encode() in line
    assert json.loads(line) == json.loads(b"".join(rest)) == document


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "0", "1e10", "soon"])
def test_timeout_that_cannot_work_is_refused(refused: Refused, value: str) -> None:
    said = refused("dispatch", "hi", "--neuron", "x", "--synapse", "zmq://127.0.0.1:1", "--timeout", value)
    assert "Invalid value for '--timeout'" in said


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "soon"])
def test_grace_that_cannot_work_is_refused(refused: Refused, value: str) -> None:
    said = refused("run", "m:a", "--synapse", "zmq://127.0.0.1:1", "--grace", value)
    assert "Invalid value for '--grace'" in said
