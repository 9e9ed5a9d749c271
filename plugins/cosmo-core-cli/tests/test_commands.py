"""Which commands there are: its own, and those of plugins, broken or not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Install, Invoke

GROUP = "[cosmo.commands]\n"
WAVE = """
import click

@click.command()
@click.option("--name", default="you")
def wave(name):
    "Wave at somebody."
    if name == "nobody":
        raise KeyError("nobody")
    click.echo(f"waves at {name}")
"""


def test_help_lists_every_command(invoke: Invoke) -> None:
    shown = invoke("--help")
    assert shown.exit_code == 0
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")}
    assert listed >= {
        "run",
        "dispatch",
        "ask",
        "neurons",
        "watch",
        "plugins",
        "new",
        "schema",
        "validate",
        "hub",
    }


@pytest.mark.parametrize(
    "command",
    ["run", "dispatch", "ask", "neurons", "watch", "plugins", "schema", "validate", "completion", "hub"],
)
def test_each_command_has_help(invoke: Invoke, command: str) -> None:
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: cosmo {command} ")


def test_without_a_command_help_is_shown_and_it_is_a_mistake(invoke: Invoke) -> None:
    shown = invoke()
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith("Usage: cosmo ")


def test_a_plugin_brings_a_command(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    assert "wave  Wave at somebody." in invoke("--help").stdout
    assert invoke("wave", "--name", "me").stdout == "waves at me\n"


def test_an_own_command_wins_over_a_plugins(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "schema = waver:wave\n", waver=WAVE)
    assert "Wave at somebody" not in invoke("--help").stdout
    assert invoke("schema").stdout.startswith("{")


@pytest.mark.parametrize(
    ("point", "module", "cause"),
    [
        ("gone:command", "", "No module named 'gone'"),
        ("boom:command", "raise RuntimeError('boom')", "RuntimeError: boom"),
        ("boom:command", "import no_such_module", "No module named 'no_such_module'"),
        ("boom:command", "x = (", "SyntaxError"),
        ("boom:command", "other = 1", "has no attribute 'command'"),
        ("boom:command", "command = len", "is no click command"),
    ],
)
def test_a_broken_command_is_listed_as_broken_and_says_why(
    invoke: Invoke, refused: Callable[..., str], install: Install, point: str, module: str, cause: str
) -> None:
    install("thirdparty", points=GROUP + f"bad = {point}\n", boom=module)
    listed = " ".join(invoke("--help").stdout.split())
    assert "bad broken: " in listed
    assert "schema Print the JSON Schema" in listed
    for arguments in (["bad"], ["bad", "--help"], ["bad", "what", "--ever"]):
        said = refused(*arguments)
        assert "thirdparty 1.0" in said
        assert cause in said


def test_a_broken_command_takes_no_other_down(invoke: Invoke, install: Install) -> None:
    install("thirdparty", points=GROUP + "bad = boom:command\n", boom="raise SystemExit(5)")
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    assert invoke("wave").exit_code == 0
    assert invoke("schema").exit_code == 0


def test_two_plugins_with_one_command_are_both_named(refused: Callable[..., str], install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    install("other", points=GROUP + "wave = waver:wave\n")
    said = refused("wave")
    assert "other 1.0 and waver 1.0" in said
    assert "COSMO_PREFER_PLUGINS" in said


def test_what_a_plugins_command_raises_names_the_plugin(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    failed = invoke("wave", "--name", "nobody")
    assert failed.exit_code == 70
    assert failed.stderr.startswith("cosmo: the command 'wave' of waver 1.0 failed: KeyError: 'nobody'; ")
    assert failed.stderr.count("\n") == 1


def test_debug_shows_where(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    for shown in (
        invoke("--debug", "wave", "--name", "nobody"),
        invoke("wave", "--name", "nobody", env={"COSMO_DEBUG": "1"}),
    ):
        assert shown.exit_code == 70
        assert "Traceback" in shown.stderr
        assert "waver.py" in shown.stderr


def test_an_unknown_command_says_which_is_meant_or_how_to_get_it(refused: Callable[..., str]) -> None:
    assert "did you mean 'dispatch'?" in refused("dispach")
    said = refused("teleport")
    assert "no command named 'teleport' is installed" in said
    assert "hub (cosmo-synapse-zmq" in said


def test_an_unknown_option_points_to_the_help(refused: Callable[..., str]) -> None:
    assert "See 'cosmo schema --help'" in refused("schema", "--what")


def test_its_own_commands_are_listed_without_importing_what_they_need() -> None:
    code = (
        "import sys\n"
        "from cosmo_core_cli.app import cosmo\n"
        "try:\n"
        "    cosmo(sys.argv[1:], prog_name='cosmo')\n"
        "except SystemExit:\n"
        "    print(sorted({'rich', 'watchfiles', 'cosmo_core_cli.run'} & set(sys.modules)))\n"
    )
    for arguments in (["--help"], ["schema"]):
        command = [sys.executable, "-c", code, *arguments]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
        assert shown.stdout.splitlines()[-1] == "[]"
