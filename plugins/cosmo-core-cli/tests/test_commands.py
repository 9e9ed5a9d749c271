"""Built-in commands, commands of plugins, and broken commands."""

from __future__ import annotations

import re
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
    "Wave at a person."
    if name == "unknown":
        raise KeyError("unknown")
    click.echo(f"waves at {name}")
"""


def test_help_lists_every_command(invoke: Invoke) -> None:
    shown = invoke("--help")
    assert shown.exit_code == 0
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")}
    assert listed >= {
        "run",
        "dispatch",
        "answer",
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
    ["run", "dispatch", "answer", "neurons", "watch", "plugins", "schema", "validate", "completion", "hub"],
)
def test_each_command_has_help(invoke: Invoke, command: str) -> None:
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"Usage: cosmo {command} ")


def test_missing_command_is_an_error_that_shows_the_help(invoke: Invoke) -> None:
    shown = invoke()
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith("Usage: cosmo ")


def test_plugin_adds_a_command(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    assert "wave  Wave at a person." in invoke("--help").stdout
    assert invoke("wave", "--name", "me").stdout == "waves at me\n"


def test_built_in_command_takes_precedence_over_a_plugin(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "schema = waver:wave\n", waver=WAVE)
    assert "Wave at a person" not in invoke("--help").stdout
    assert invoke("schema").stdout.startswith("{")


@pytest.mark.parametrize(
    ("point", "module", "cause"),
    [
        ("gone:command", "", "No module named 'gone'"),
        ("boom:command", "raise RuntimeError('boom')", "RuntimeError: boom"),
        ("boom:command", "import no_such_module", "No module named 'no_such_module'"),
        ("boom:command", "x = (", "SyntaxError"),
        ("boom:command", "other = 1", "has no attribute 'command'"),
        ("boom:command", "command = len", "is not a click command"),
    ],
)
def test_broken_command_is_listed_with_its_error(
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


def test_broken_command_does_not_affect_others(invoke: Invoke, install: Install) -> None:
    install("thirdparty", points=GROUP + "bad = boom:command\n", boom="raise SystemExit(5)")
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    assert invoke("wave").exit_code == 0
    assert invoke("schema").exit_code == 0


def test_plugins_with_the_same_command_are_both_named(refused: Callable[..., str], install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    install("other", points=GROUP + "wave = waver:wave\n")
    said = refused("wave")
    assert "other 1.0 and waver 1.0" in said
    assert "COSMO_PREFER_PLUGINS" in said


def test_unexpected_error_of_a_command_names_the_plugin(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    failed = invoke("wave", "--name", "unknown")
    assert failed.exit_code == 70
    assert failed.stderr.startswith("cosmo: the command 'wave' of waver 1.0 failed: KeyError: 'unknown'; ")
    assert failed.stderr.count("\n") == 1


def test_debug_shows_the_traceback(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    for shown in (
        invoke("--debug", "wave", "--name", "unknown"),
        invoke("wave", "--name", "unknown", env={"COSMO_DEBUG": "1"}),
    ):
        assert shown.exit_code == 70
        assert "Traceback" in shown.stderr
        assert "waver.py" in shown.stderr


LOGGING = """
import logging

import click

from cosmo_core_cli.errors import log_details

@click.command()
@click.option("-v", "verbose", is_flag=True)
def logs(verbose):
    "Log."
    if verbose:
        log_details()
    logging.getLogger("cosmo_core.dendrite").debug("TASK %s", "begins\\nhere")
    logging.getLogger("other").info("hidden")
"""


def test_details_are_logged_on_request_with_the_time(invoke: Invoke, install: Install) -> None:
    install("logger", points=GROUP + "logs = logger_command:logs\n", logger_command=LOGGING)
    assert invoke("logs").stderr == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} TASK begins here\n", invoke("logs", "-v").stderr)
    assert invoke("logs").stderr == ""


def test_unknown_command_suggests_a_command_or_a_plugin(refused: Callable[..., str]) -> None:
    assert "did you mean 'dispatch'?" in refused("dispach")
    said = refused("teleport")
    assert "no command named 'teleport' is installed" in said
    assert "hub (cosmo-synapse-zmq" in said


def test_unknown_option_refers_to_the_help(refused: Callable[..., str]) -> None:
    assert "See 'cosmo schema --help'" in refused("schema", "--what")


def test_help_text_of_a_plugin_is_read_without_importing_it(invoke: Invoke, install: Install) -> None:
    slow = "raise RuntimeError('imported')\n" + WAVE
    install("waver", points=GROUP + "wave = waver:wave\n", waver=slow)
    assert "wave  Wave at a person." in invoke("--help").stdout


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (WAVE.replace("command()", "command(help='Wave to everybody.')"), "wave  Wave to everybody."),
        ("import click\nwave = click.Command('wave', help='Wave once.')\n", "wave  Wave once."),
        (WAVE.replace('"Wave at a person."', '"""Wave\n    at a person."""'), "wave  Wave at a person."),
    ],
)
def test_help_text_that_the_source_does_not_show_is_imported(
    invoke: Invoke, install: Install, module: str, shown: str
) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=module)
    assert shown in invoke("--help").stdout


def test_disabled_command_is_not_listed(invoke: Invoke, install: Install) -> None:
    install("waver", points=GROUP + "wave = waver:wave\n", waver=WAVE)
    assert "wave" not in invoke("--help", env={"COSMO_DISABLE_PLUGINS": "wave"}).stdout


def test_help_imports_neither_the_core_nor_a_plugin() -> None:
    code = (
        "import sys\n"
        "from cosmo_core_cli.app import cosmo\n"
        "try:\n"
        "    cosmo(['--help'], prog_name='cosmo')\n"
        "except SystemExit:\n"
        "    unwanted = ('asyncio', 'attr', 'cosmo_core', 'cosmo_synapse_zmq', 'msgspec', 'rich', 'zmq')\n"
        "    print([name for name in unwanted if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert "hub  Run a hub for zmq://" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "[]"


def test_built_in_commands_are_listed_without_their_imports() -> None:
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
