"""The command `cosmo` and its subcommands: built-in ones, imported on use, and those of plugins.

`cosmo --help` imports neither the core nor a plugin: it would take four times as long.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

from cosmo_core_cli.errors import UserError, logging_to_stderr, reporting_errors
from cosmo_core_cli.listing import GROUP, documented_commands
from cosmo_core_cli.output import colour, one_line

if TYPE_CHECKING:
    from cosmo_core import PluginError
    from cosmo_core.plugins import PluginManager


class BuiltIn(NamedTuple):
    """A built-in command: its module, and its help text, so that listing it imports nothing."""

    module: str
    help: str


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "run": BuiltIn("cosmo_core_cli.run.command", "Host Neurons and Engrams on a bus."),
    "dispatch": BuiltIn("cosmo_core_cli.dispatch", "Send a TASK to a Neuron, and print the answer."),
    "chat": BuiltIn("cosmo_core_cli.chat", "Talk with a Neuron."),
    "answer": BuiltIn("cosmo_core_cli.answer", "Answer the questions of Neurons."),
    "neurons": BuiltIn("cosmo_core_cli.neurons", "List the Neurons and Engrams on a bus."),
    "watch": BuiltIn("cosmo_core_cli.watch", "Print every Signal as it passes."),
    "trace": BuiltIn("cosmo_core_cli.trace", "Show the tree of Signals of one trace, with times."),
    "plugins": BuiltIn("cosmo_core_cli.plugins", "List the installed plugins and their faults."),
    "new": BuiltIn("cosmo_core_cli.new.command", "Create an application or a plugin, working and tested."),
    "schema": BuiltIn("cosmo_core_cli.schema", "Print the JSON Schema of Signals."),
    "validate": BuiltIn("cosmo_core_cli.validate", "Check the Signals in a file."),
    "completion": BuiltIn("cosmo_core_cli.completion", "Print the completion script of a shell."),
}
"""In the order of the help text. The attribute of the module has the name of the command."""


class BrokenCommand(click.Command):
    """Placeholder for a plugin's command that cannot be used; calling it raises the error.

    Args:
        name: The name of the command.
        error: Why it cannot be used.
    """

    def __init__(self, name: str, error: PluginError) -> None:
        super().__init__(
            name,
            short_help=f"broken: {one_line(str(error))}",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        self._error = error

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Raise the error."""
        raise self._error


class App(click.Group):
    """The group of all commands, which reports every error on one line. Built-in commands take precedence."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, and exit with its status."""
        options["standalone_mode"] = False
        options.setdefault("color", colour())
        status = 0
        try:
            # `invoke` reports the errors of commands; this reports the errors before that.
            with reporting_errors(debug=False):
                status = super().main(*args, **options) or 0
        except click.exceptions.Exit as end:
            status = end.exit_code
        sys.exit(status)

    def invoke(self, ctx: click.Context) -> None:
        """Run the chosen command, which sets its exit status with `click.Context.exit`."""
        debug = ctx.params["debug"]
        with logging_to_stderr(debug=debug), reporting_errors(debug=debug, owner=lambda: self._owner(ctx)):
            super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, built-in ones first."""
        return [*BUILT_IN, *_plugin_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; return None if it does not exist, which `resolve_command` reports."""
        if cmd_name in BUILT_IN:
            command: click.Command = getattr(import_module(BUILT_IN[cmd_name].module), cmd_name)
            return command
        return _plugin_command(cmd_name) if cmd_name in _plugin_names() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that a command line begins with.

        Raises:
            UserError: The command does not exist, and its name is close to that of another one.
            UnknownPluginError: The command does not exist; the message names the plugin to install, if known.
        """
        name = args[0]
        is_option = ctx.resilient_parsing or name.startswith("-")
        if not is_option and self.get_command(ctx, name) is None:
            if close := get_close_matches(name, self.list_commands(ctx), n=1):
                raise UserError(f"unknown command {name!r}; did you mean {close[0]!r}?")
            _manager().factory(GROUP, name)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command without importing one."""
        named = [CompletionItem(name, help=command.help) for name, command in BUILT_IN.items()]
        named += [CompletionItem(name, help=f"of {owner}") for name, owner in _plugin_names().items()]
        found = [item for item in named if item.value.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands. A command of a plugin is imported only if its source does not show its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in BUILT_IN.items()])
        documented = documented_commands()
        names = _plugin_names() if documented is None else sorted(documented.keys() - BUILT_IN.keys())
        texts = documented or {}
        of_plugins = [
            (name, texts.get(name) or _plugin_command(name).get_short_help_str(200)) for name in names
        ]
        if of_plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(of_plugins)

    def _owner(self, ctx: click.Context) -> str:
        """Return the plugin of the called command; an empty string if the command is built in."""
        name = ctx.invoked_subcommand or ""
        return f"the command {name!r} of {_plugin_names()[name]}" if name and name not in BUILT_IN else ""


def _plugin_names() -> dict[str, str]:
    """Return the commands of plugins, with their distributions."""
    names = _manager().names(GROUP)
    return {name: names[name] for name in sorted(names) if name not in BUILT_IN}


def _manager() -> PluginManager:
    # Imported on use: the help of `cosmo` needs neither the core nor the plugins.
    from cosmo_core.plugins import default_manager

    return default_manager()


def _plugin_command(name: str) -> click.Command:
    from cosmo_core import PluginError

    try:
        command = _manager().factory(GROUP, name)
    except PluginError as error:
        return BrokenCommand(name, error)
    if isinstance(command, click.Command):
        return command
    owner = _plugin_names()[name]
    return BrokenCommand(
        name, PluginError(f"{GROUP} {name!r} of {owner} is not a click command but {type(command)}")
    )


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="COSMO_DEBUG", help="Show tracebacks. [COSMO_DEBUG=1]")
@click.version_option(package_name="cosmo-core-cli", prog_name="cosmo")
def cosmo(debug: bool) -> None:
    """Run agents, which are plain async functions, and the bus on which they work together.

    COSMO_SYNAPSE and COSMO_NAMESPACE are the defaults of --synapse and --namespace.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal may have an encoding without the characters of an answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run `cosmo`."""
    cosmo(prog_name="cosmo")
