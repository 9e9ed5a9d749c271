"""What to ask the model for: set at construction, and overridable by every call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cosmo_llm import checks

# What Go's time.ParseDuration takes, for that is what reads it.
_DURATION: Final = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")


@dataclass(frozen=True, slots=True)
class Settings:
    """The generation settings of one call; ``None`` leaves the choice to Ollama.

    Attributes:
        model: The model's name, with or without a tag.
        system: The system message.
        temperature: At least 0.
        max_tokens: Where to cut the answer.
        options: Ollama's own options, by the names that it gives them.
        keep_alive: How long the model stays loaded: seconds, or a text such as ``"10m"``; below 0 is forever.
    """

    model: str
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    options: Mapping[str, Any] | None = None
    keep_alive: float | str | None = None

    def __post_init__(self) -> None:
        checks.need_text("model", self.model)
        checks.need_text("system", self.system)
        checks.need_temperature("temperature", self.temperature)
        checks.need_count("max_tokens", self.max_tokens)
        checks.need(
            self.options is None or _is_object(self.options), "options", self.options, "a JSON object"
        )
        is_time = self.keep_alive is None or _is_time(self.keep_alive)
        checks.need(is_time, "keep_alive", self.keep_alive, "a number of seconds, or a text such as '10m',")

    @property
    def generation(self) -> dict[str, Any]:
        """The ``options`` of a request; what has a name of its own here wins."""
        own = {"temperature": self.temperature, "num_predict": self.max_tokens}
        return {**(self.options or {}), **{name: value for name, value in own.items() if value is not None}}

    def for_call(self, input: Mapping[str, Any]) -> Settings:
        """These settings, with those that the input brings put in their place; ``options`` key by key.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when a value in the input cannot work.
        """
        options = input.get("options")
        if self.options and isinstance(options, Mapping):
            input = {**input, "options": {**self.options, **options}}
        return checks.for_call(self, input)


def _is_object(value: object) -> bool:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_time(value: object) -> bool:
    return checks.is_number(value) or (isinstance(value, str) and _DURATION.fullmatch(value) is not None)
