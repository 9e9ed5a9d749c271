"""The system Neuron."""

from __future__ import annotations

import platform
from datetime import UTC
from typing import Any

from cosmo_context.context import Context
from cosmo_context.errors import ContextNeuronError
from cosmo_context.neuron import Stability, StateNeuron


class SystemNeuron(StateNeuron):
    """Tells the date and the time in UTC, by the Context's clock, and the platform."""

    stability = Stability.VOLATILE
    importance = 20

    def __init__(self, name: str = "system", *, priority: float = 100) -> None:
        super().__init__(name, priority=priority)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Tell them between two tags; never empty.

        Raises:
            ContextNeuronError: The clock gives a time without its time zone.
        """
        now = ctx.clock()
        if now.tzinfo is None:
            raise ContextNeuronError(self.name, "needs a clock that gives times with their time zone")
        now = now.astimezone(UTC)
        return (
            f"<system_info>\nCurrent date: {now:%Y-%m-%d}\nCurrent time: {now:%H:%M:%S} UTC\n"
            f"Platform: {platform.system()} {platform.release()}\n</system_info>"
        )
