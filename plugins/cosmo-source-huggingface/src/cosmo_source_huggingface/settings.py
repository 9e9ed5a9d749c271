"""What to ask the model for: set at construction, and overridable by every call."""

from __future__ import annotations

from dataclasses import dataclass

from cosmo_llm.checks import is_number, need, need_count, need_temperature, need_text


@dataclass(frozen=True, slots=True)
class Settings:
    """The generation settings of one call; ``None`` leaves the choice to the provider.

    Attributes:
        model: The model's id.
        max_new_tokens: Where to cut the answer.
        temperature: At least 0.
        top_p: Above 0, at most 1.
        stop: Texts that end the answer; a single string is taken too.
        system: The system message.
    """

    model: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] | list[str] | str | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        need_text("model", self.model)
        need_text("system", self.system)
        need_count("max_new_tokens", self.max_new_tokens)
        need_temperature("temperature", self.temperature)
        top_p = self.top_p
        is_share = top_p is None or (is_number(top_p) and 0 < top_p <= 1)
        need(is_share, "top_p", top_p, "a number above 0, at most 1,")
        is_stop = self.stop is None or _are_texts(self.stop)
        need(is_stop, "stop", self.stop, "a non-empty string or a list of them")

    @property
    def stop_texts(self) -> list[str]:
        """The texts that end the answer, as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


def _are_texts(value: object) -> bool:
    texts = [value] if isinstance(value, str) else value
    return isinstance(texts, (list, tuple)) and all(isinstance(text, str) and text for text in texts)
