from __future__ import annotations

from typing import Any

import pytest

from cosmo_source_ollama import ollama
from cosmo_source_ollama.options import OllamaOptions


@pytest.mark.parametrize("options", [{}, {"model": None}])
def test_a_missing_model_raises_an_error_that_says_how_to_find_one(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^model: .*`ollama list`"):
        ollama(**options)


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match="temprature") as caught:
        ollama(model="llama3", temprature=1)
    assert all(name in str(caught.value) for name in OllamaOptions.names())


def test_the_options_are_the_documented_ones() -> None:
    documented = (
        "model endpoint system temperature max_tokens options keep_alive extra timeout idle_timeout "
        "max_retries stream headers client"
    )
    assert OllamaOptions.names() == set(documented.split())


def test_the_default_timeout_allows_for_loading_a_model() -> None:
    assert OllamaOptions.parse({"model": "llama3"}).timeout == 120
    assert OllamaOptions.parse({"model": "llama3", "timeout": 5}).timeout == 5


@pytest.mark.parametrize("keep_alive", [0, -1, 300, 0.5, "0", "10m", "1h30m", "-1s", "1.5h", ".5s", "100µs"])
def test_keep_alive_accepts_every_duration_that_ollama_accepts(keep_alive: float | str) -> None:
    assert OllamaOptions(model="llama3", keep_alive=keep_alive).keep_alive == keep_alive


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", 7),
        ("endpoint", "localhost:11434"),
        ("endpoint", None),
        ("system", ""),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", True),
        ("temperature", "hot"),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("options", [1]),
        ("options", {1: 1}),
        ("options", {"seed": object()}),
        ("options", {"temperature": float("inf")}),
        ("keep_alive", "-1"),
        ("keep_alive", "5 minutes"),
        ("keep_alive", ""),
        ("keep_alive", "1m\n"),
        ("keep_alive", float("nan")),
        ("keep_alive", True),
        ("timeout", 0),
        ("timeout", float("inf")),
        ("timeout", None),
        ("idle_timeout", 0),
        ("max_retries", -1),
        ("extra", ["raw"]),
        ("stream", "yes"),
        ("headers", ["a"]),
        ("headers", {"x-name": "line\nbreak"}),
        ("client", object()),
    ],
)
def test_a_value_that_cannot_work_is_refused_at_construction(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}"):
        ollama(**{"model": "llama3", name: value})
