"""`cosmo new`: makes the distribution of a plugin, as somebody would publish it."""

from cosmo_core_cli.new.command import new

__all__ = ["new"]
