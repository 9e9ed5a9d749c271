"""The command `cosmo`: runs, watches and checks a bus for agents from a shell."""
