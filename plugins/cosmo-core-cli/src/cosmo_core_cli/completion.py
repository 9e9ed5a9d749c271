"""`cosmo completion`: what a shell has to know to complete `cosmo`."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from cosmo_core_cli.failing import Mistake

SHELLS: Final = ("bash", "zsh", "fish")


INSTALL: Final = """\b
bash:  eval "$(cosmo completion bash)"      in ~/.bashrc
zsh:   eval "$(cosmo completion zsh)"       in ~/.zshrc
fish:  cosmo completion fish | source       in ~/.config/fish/config.fish"""


@click.command(epilog=INSTALL)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes `cosmo` in a shell."""
    script = get_completion_class(shell)
    if script is None:
        raise Mistake(f"click {click.__version__} completes nothing in {shell}; pip install --upgrade click")
    click.echo(script(ctx.find_root().command, {}, "cosmo", "_COSMO_COMPLETE").source(), nl=False)
