"""The options of the source."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec
from msgspec import Meta

from cosmo_llm.http.neuron import LLMOptions
from cosmo_llm.options import Converter, Count, Seconds, Text, json_object
from cosmo_source_ollama.endpoint import OllamaEndpoint

DEFAULT_TIMEOUT_S: Final = 120.0
"""Twice that of a hosted model: the first call also loads the model, from a disk that may be slow."""

PASSED_ON: Final = frozenset({"tools", "format", "think", "truncate", "shift", "logprobs", "top_logprobs"})
"""The keys of an input that are copied into the request unchanged."""
GENERATION: Final = frozenset(
    [
        "frequency_penalty",
        "min_p",
        "num_ctx",
        "num_keep",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "seed",
        "stop",
        "top_k",
        "top_p",
        "typical_p",
    ]
)
"""The keys of an input that become keys of the request's ``options``."""

# What Go's time.ParseDuration accepts, because Ollama parses the text with it.
_GO_DURATION: Final = r"\A[-+]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)\Z"
_LARGEST: Final = sys.float_info.max  # as a bound, it excludes infinity and NaN

Duration = (
    Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
    | Annotated[str, Meta(pattern=_GO_DURATION, description="a number of seconds, or a text such as '10m',")]
)
"""Seconds, or a text such as ``"10m"``."""


class OllamaOptions(LLMOptions, frozen=True, kw_only=True):
    """The options of one Neuron; ``None`` leaves a choice to Ollama.

    Attributes:
        model: The model's name, with or without a tag.
        endpoint: The server's URL. The default comes from ``OLLAMA_HOST``.
        timeout: How long one call may take in total, in seconds.
        max_tokens: The maximum length of the answer.
        options: Ollama's own options, under its own names.
        keep_alive: How long the model stays loaded: seconds, or a text such as ``"10m"``; a negative value
            means forever.
    """

    SOURCE: ClassVar[str] = "ollama"
    PER_CALL: ClassVar[frozenset[str]] = LLMOptions.PER_CALL | {"max_tokens", "options", "keep_alive"}
    PASSED_ON: ClassVar[frozenset[str]] = PASSED_ON | GENERATION | {"images"}

    model: Text
    endpoint: Annotated[OllamaEndpoint, Converter(OllamaEndpoint.convert)] = msgspec.field(
        default_factory=OllamaEndpoint.from_environment
    )
    timeout: Seconds = DEFAULT_TIMEOUT_S
    max_tokens: Count | None = None
    options: Annotated[Mapping[str, Any] | None, Converter(json_object)] = None
    keep_alive: Duration | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what the user gave and from ``OLLAMA_HOST``.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or ``model`` is missing.
        """
        if given.get("model") is None:
            cls.check_names(given)
            raise ValueError("model: name one that was pulled, as in 'llama3.2'; `ollama list` shows them")
        return super().parse(given)

    @property
    def generation(self) -> dict[str, Any]:
        """The ``options`` of a request. The source's own options win over Ollama's names for them."""
        own = {"temperature": self.temperature, "num_predict": self.max_tokens}
        return {**(self.options or {}), **{name: value for name, value in own.items() if value is not None}}

    def for_call(self, input: Mapping[str, Any]) -> Self:
        """These options with the values that the input overrides; ``options`` are merged key by key.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when a value in the input cannot work.
        """
        own = {name: input[name] for name in GENERATION if input.get(name) is not None}
        options = input.get("options")
        if isinstance(options, Mapping) or (own and options is None):
            input = {**input, "options": {**(self.options or {}), **(options or {}), **own}}
        return super().for_call(input)
