"""The commands of `cosmo`: its own, imported when they are used, and those that plugins bring."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Final, NoReturn

import attrs
import click
from click.shell_completion import CompletionItem

from cosmo_core import PluginError
from cosmo_core.plugins import default_manager
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.words import one_line

GROUP: Final = "cosmo.commands"


@attrs.frozen
class Own:
    """Where a command is, and what it does, so that listing it imports nothing."""

    module: str
    help: str


OWN: Final[Mapping[str, Own]] = {
    "run": Own("cosmo_core_cli.run", "Host Neurons and Engrams on a bus."),
    "dispatch": Own("cosmo_core_cli.dispatch", "Give a Neuron work, and print its answer as it comes."),
    "ask": Own("cosmo_core_cli.ask", "Answer what Neurons ask back."),
    "neurons": Own("cosmo_core_cli.neurons", "List who is there."),
    "watch": Own("cosmo_core_cli.watch", "Print every Signal as it passes."),
    "plugins": Own("cosmo_core_cli.plugins", "List what is installed, and what is wrong with it."),
    "new": Own("cosmo_core_cli.new", "Begin a plugin: a whole distribution that works."),
    "schema": Own("cosmo_core_cli.schema", "Print the JSON Schema of Signals."),
    "validate": Own("cosmo_core_cli.validate", "Check Signals in a file."),
    "completion": Own("cosmo_core_cli.completion", "Print what completes `cosmo` in a shell."),
}
"""In the order in which they are listed. The attribute of the module is called as the command."""


class BrokenCommand(click.Command):
    """Stands where a plugin's command cannot be used, and says why when it is called.

    Args:
        name: The command's.
        error: Why.
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
        """Raise the error, whatever was asked of it."""
        raise self._error


class CommandGroup(click.Group):
    """Its own commands, and those of plugins; of two with one name, its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names: its own first."""
        return [*OWN, *_plugin_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command. None if there is no such, which is reported by `resolve_command`."""
        if cmd_name in OWN:
            command: click.Command = getattr(import_module(OWN[cmd_name].module), cmd_name)
            return command
        return _plugin_command(cmd_name) if cmd_name in _plugin_names() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that a command line begins with.

        Raises:
            Mistake: There is none; the message says which it may be, or how to get it.
            UnknownPluginError: The same, where it may be a plugin's.
        """
        name = args[0]
        option = ctx.resilient_parsing or name.startswith("-")
        if not option and self.get_command(ctx, name) is None:
            if close := get_close_matches(name, self.list_commands(ctx), n=1):
                raise Mistake(f"there is no command {name!r}; did you mean {close[0]!r}?")
            default_manager().factory(GROUP, name)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, importing none."""
        named = [CompletionItem(name, help=own.help) for name, own in OWN.items()]
        named += [CompletionItem(name, help=f"of {owner}") for name, owner in _plugin_names().items()]
        found = [item for item in named if item.value.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, those of plugins by themselves. Only the latter are imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, own.help) for name, own in OWN.items()])
        brought = [(name, _plugin_command(name).get_short_help_str(200)) for name in _plugin_names()]
        if brought:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(brought)

    def blamed(self, ctx: click.Context) -> str:
        """Return which plugin brings the command that was called; nothing if it is an own one."""
        name = ctx.invoked_subcommand or ""
        return f"the command {name!r} of {_plugin_names()[name]}" if name and name not in OWN else ""


def _plugin_names() -> dict[str, str]:
    """Return the commands of plugins, and the distribution of each."""
    brought = default_manager().names(GROUP)
    return {name: brought[name] for name in sorted(brought) if name not in OWN}


def _plugin_command(name: str) -> click.Command:
    try:
        command = default_manager().factory(GROUP, name)
    except PluginError as error:
        return BrokenCommand(name, error)
    if isinstance(command, click.Command):
        return command
    owner = _plugin_names()[name]
    return BrokenCommand(
        name, PluginError(f"{GROUP} {name!r} of {owner} is no click command: {type(command)}")
    )
