"""No error, log or repr shows the values of env and headers."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm import Secrets
from cosmo_source_mcp import mcp
from cosmo_source_mcp.limits import STDERR_TAIL_BYTES
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.stdio import ExitReport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cosmo_source_mcp import McpNeuron

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

SERVERS = Path(__file__).parent / "servers"
KEY = "sk-THEKEY0123456789"
STDIO: dict[str, Any] = {"command": sys.executable, "env": {"NEEDED": KEY}}
HTTP: dict[str, Any] = {"headers": {"Authorization": f"Bearer {KEY}"}}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_clean(text: str) -> None:
    assert KEY not in text
    assert "THEKEY" not in text


def assert_all_clean(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    for link in chain(error):
        assert_clean(f"{link} {link!r} {vars(link)}")
    assert_clean("".join(traceback.format_exception(error)))
    # At DEBUG, httpcore logs the headers of a response, and a server may echo a secret in those.
    assert_clean("\n".join(log.getMessage() for log in caplog.records if "httpcore" not in log.name))
    assert_clean("\n".join(log.exc_text or "" for log in caplog.records))


# Where each program prints the key that it gets.
PROGRAMS = {
    "on stderr": "import os, sys; sys.exit(os.environ['NEEDED'])",
    "often on stderr": "import os, sys; sys.exit(f'{os.environ[\"NEEDED\"]} ' * 5000)",
    "on stdout": "import os; print(os.environ['NEEDED'])",
    "all over stdout": "import os\nwhile True: print(os.environ['NEEDED'], flush=True)",
    "in a refusal": """
import json, os
id = json.loads(input())["id"]
while True:
    error = {"code": -32600, "message": f"no {os.environ['NEEDED']}"}
    print(json.dumps({"jsonrpc": "2.0", "id": id, "error": error}), flush=True)
    id = json.loads(input())["id"]
""",
    "in a broken answer": """
import json, os
id = json.loads(input())["id"]
print(f'{{"jsonrpc":"2.0","id":{id},"result":{os.environ["NEEDED"]}', flush=True)
""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
async def test_failure_of_a_started_server_does_not_show_a_secret(
    make: Make, ask: Ask, caplog: pytest.LogCaptureFixture, program: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NeuronError) as caught:
        await ask(make(**STDIO, args=["-c", program], timeout=10), "fine")
    assert_all_clean(caught.value, caplog)


async def test_error_of_a_tool_does_not_show_a_secret(
    make: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NeuronError, match=r"you gave me \[redacted\]") as caught:
        await ask(
            make(**STDIO, args=[SERVERS / "toolbox.py"]), "fail", reason="you gave me sk-THEKEY0123456789"
        )
    assert_clean(str(caught.value))


def test_repr_does_not_show_a_secret() -> None:
    for given in ({**STDIO, "args": [KEY]}, {"url": f"http://localhost/mcp?key={KEY}", **HTTP}):
        neuron = mcp(**given)
        assert_clean(f"{neuron!r} {McpOptions.parse(given)!r} {list(map(repr, vars(neuron).values()))}")


@pytest.mark.parametrize(
    "option",
    [{"timeout": -1}, {"tmeout": 1}, {"env": {"A": KEY + "\0"}}, {"env": [KEY]}, {"args": [KEY, 7]}],
    ids=str,
)
def test_construction_error_does_not_show_a_secret(option: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        mcp(**{**STDIO, **option})
    assert_clean(str(caught.value))


def test_parts_of_a_secret_are_redacted() -> None:
    values = [f"Bearer {KEY}", "-----BEGIN-----\nfirst line\nsecond line\n", "debug", "no", ""]
    secrets = McpOptions.parse({"command": "x", "env": dict(zip("ABCDE", values, strict=True))}).secrets
    said = secrets.quote(f"token {KEY} and second line with Bearer {KEY}; no debug")
    assert said == "token [redacted] and [redacted] with [redacted]; no [redacted]"


def test_secret_is_redacted_as_json_and_python_write_it() -> None:
    secret = 'say "hü" \\ twice'
    secrets = Secrets([secret])
    for written in (json.dumps(secret), repr(secret), secret):
        assert "twice" not in secrets.quote(f"got {written}")


@pytest.mark.parametrize("shift", [0, 1, 1_000, 2_999])
def test_rest_of_a_secret_at_the_cut_is_not_shown(shift: int) -> None:
    secret = "".join(f"{n:04d}" for n in range(750))
    report = ExitReport(Secrets([secret]))
    report.add_stderr(b"x" * (STDERR_TAIL_BYTES - shift) + 4 * secret.encode() + b" and no more")
    text = str(report)
    assert not any(secret[start : start + 8] in text for start in range(len(secret) - 8))
    assert text.endswith("and no more")
