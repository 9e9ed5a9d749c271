"""A context Neuron for the current weather."""

from __future__ import annotations

from typing import Any

from cosmo_context import Context, StateNeuron, StateShapeError, data

COSMO_API = 1
"""The version of the plugin interface that this plugin uses."""

__all__ = ["COSMO_API", "WeatherNeuron"]


class WeatherNeuron(StateNeuron):
    """The current weather: ``weather``, a string."""

    def __init__(self, name: str = "weather", *, priority: float = 70) -> None:
        super().__init__(name, priority=priority)

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """Return the weather between two tags; ``""`` if it is not known.

        Raises:
            StateShapeError: The weather is not a string.
        """
        weather = ctx.state.get("weather")
        if not weather:
            return ""
        if not isinstance(weather, str):
            raise StateShapeError(self.name, "weather", "a text", weather)
        return f"<weather>Current weather: {data(weather)}</weather>"
