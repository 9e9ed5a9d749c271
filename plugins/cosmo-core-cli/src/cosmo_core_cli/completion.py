"""`cosmo completion`: print the completion script of a shell."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from cosmo_core_cli.errors import UserError

SHELLS: Final = ("bash", "zsh", "fish")

INSTALL: Final = """\b
bash:  eval "$(cosmo completion bash)"      in ~/.bashrc
zsh:   eval "$(cosmo completion zsh)"       in ~/.zshrc
fish:  cosmo completion fish | source       in ~/.config/fish/config.fish"""


@click.command(epilog=INSTALL)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes the command line of `cosmo`."""
    script = get_completion_class(shell)
    if script is None:
        raise UserError(f"click {click.__version__} has no completion for {shell}: upgrade click")
    click.echo(script(ctx.find_root().command, {}, "cosmo", "_COSMO_COMPLETE").source(), nl=False)
