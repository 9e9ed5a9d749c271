"""What is said to who uses a Dendrite that does not run."""

from __future__ import annotations

from cosmo_core.errors import LifecycleError


def not_running() -> LifecycleError:
    """Return the error that says so, and what to do."""
    return LifecycleError("the Dendrite does not run: use it inside `async with`, or start it")
