"""The conformance kit on the weather Neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cosmo_context_weather import WeatherNeuron

from cosmo_context import Context, Neuron
from cosmo_context.testing import ContextNeuronConformance, Example


class TestWeather(ContextNeuronConformance):
    reads: ClassVar[Mapping[str, Sequence[Any]]] = {"weather": (21, ["rain"], {"sky": "grey"})}

    def neuron(self) -> Neuron:
        return WeatherNeuron()

    def examples(self) -> list[Example]:
        rain = Context("task-1", state={"weather": "rain"})
        return [Example(rain, "<weather>Current weather: rain</weather>")]

    def quoting(self, text: str) -> Context:
        return Context("task-1", state={"weather": text})
