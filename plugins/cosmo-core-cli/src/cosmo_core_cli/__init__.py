"""The `cosmo` command: a bus for agents, from a shell."""
