"""What a Neuron is given: from the command line, or from stdin."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from cosmo_core_cli.failing import Mistake

MAX_STDIN: Final = 16 * 1024 * 1024
"""Bytes that are read from stdin; no Synapse carries as much."""


def task_input(given: str | None, as_json: str | None) -> dict[str, Any]:
    """Return the input of a TASK.

    Args:
        given: A JSON object, text that becomes ``{"prompt": text}``, or ``-`` to read either from stdin.
        as_json: A JSON object, and nothing else.

    Raises:
        Mistake: Neither or both are given, or it is no JSON object.
    """
    if (given is None) is (as_json is None):
        raise Mistake('what is the input? Give text, a JSON object, - for stdin, or --input "{}" for none')
    if as_json is not None:
        return _object(as_json, "--input")
    text, name = (_stdin(), "stdin") if given == "-" else (given or "", "INPUT")
    return _object(text, name) if text.lstrip().startswith("{") else {"prompt": text}


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise Mistake(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise Mistake(f"{name} is not JSON: {error}; {_remedy(name)}") from None
    if not isinstance(value, dict):
        raise Mistake(f"{name} is no JSON object but {type(value).__name__}; {_remedy(name)}")
    return value


def _remedy(name: str) -> str:
    if name == "--input":
        return """write it as in --input '{"prompt": "hello"}'"""
    return """text that begins with { is taken for JSON: write {"prompt": …} if it is not"""


def _stdin() -> str:
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise Mistake(f"stdin has more than {MAX_STDIN} bytes: put them where the Neuron can fetch them")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Mistake(f"stdin is not UTF-8: {error.reason} at byte {error.start}") from None
