"""`cosmo validate`: whether what is in a file are Signals."""

from cosmo_core_cli.validate.command import validate

__all__ = ["validate"]
