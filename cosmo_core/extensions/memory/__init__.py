"""Shared memory: hosting Engrams, and recalling from and imprinting to them."""
