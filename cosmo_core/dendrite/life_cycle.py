"""The life cycle of a Dendrite: started, running, stopping."""

from __future__ import annotations

import attrs

from cosmo_core.errors import LifecycleError


@attrs.define
class LifeCycle:
    """The state of one Dendrite.

    Attributes:
        started: Whether `Dendrite.start` was called.
        running: Whether the start has completed, and the stop has not.
        stopping: Whether `Dendrite.stop` was called.
    """

    started: bool = False
    running: bool = False
    stopping: bool = False

    def check_running(self) -> None:
        """Refuse an action that needs a running Dendrite; one that is stopping still runs.

        Raises:
            LifecycleError: The Dendrite is not running.
        """
        if not self.running:
            raise not_running()

    def check_stable(self) -> None:
        """Refuse an action that changes what a running Dendrite hosts.

        Raises:
            LifecycleError: The Dendrite is not running, or is stopping.
        """
        if not self.running or self.stopping:
            raise not_running()


def not_running() -> LifecycleError:
    """Make the error for using a Dendrite that is not running."""
    return LifecycleError("the Dendrite is not running: use it inside `async with`, or start it")
