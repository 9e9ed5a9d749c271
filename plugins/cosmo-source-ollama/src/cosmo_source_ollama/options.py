"""The options of the source: checked once, when the Neuron is made."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cosmo_llm.checks import names_of, need_flag, need_known, picked
from cosmo_llm.http import HttpOptions
from cosmo_source_ollama.endpoint import Endpoint
from cosmo_source_ollama.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT_S: Final = 120.0
"""Twice that of a hosted model: the first call also loads the model, from a disk that may be slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a Neuron of this source is made from; what may be secret is not in the repr.

    Attributes:
        http: How Ollama is reached.
        settings: What to ask the model for.
        stream: Whether the Neuron yields the answer as it comes.
    """

    http: HttpOptions
    settings: Settings
    stream: bool = False

    def __post_init__(self) -> None:
        need_flag("stream", self.stream)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Check what the user gave.

        Raises:
            TypeError: There is no such option.
            ValueError: A value cannot work, or there is no model.
        """
        need_known("ollama", given, NAMES)
        if given.get("model") is None:
            raise ValueError("model: name one that was pulled, as in 'llama3.2'; `ollama list` shows them")
        endpoint = Endpoint.parse(given["endpoint"]) if "endpoint" in given else Endpoint.from_environment()
        settings = Settings(**picked(given, Settings))
        http = {"timeout": DEFAULT_TIMEOUT_S, **picked(given, HttpOptions), "endpoint": endpoint}
        own = {
            **picked(given, cls),
            "http": HttpOptions(**http),
            # What the user does with the object later is not meant for this Neuron.
            "settings": replace(settings, options=deepcopy(settings.options)),
        }
        return cls(**own)


NAMES: Final = frozenset({*names_of(Settings), *names_of(HttpOptions), "stream"})
