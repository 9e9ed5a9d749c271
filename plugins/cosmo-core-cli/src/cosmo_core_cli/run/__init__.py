"""`cosmo run`: Neurons and Engrams on a bus."""

from cosmo_core_cli.run.command import run

__all__ = ["run"]
