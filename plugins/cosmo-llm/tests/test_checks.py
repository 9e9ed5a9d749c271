from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm import checks

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@dataclass(frozen=True)
class Settings:
    model: str | None = None
    heat: float | None = None

    def __post_init__(self) -> None:
        checks.need_text("model", self.model)
        checks.need_temperature("heat", self.heat)


@given(NUMBERS)
def test_every_number_that_json_carries_is_a_number(value: float) -> None:
    assert checks.is_number(value) == (abs(value) < 1e309)


@pytest.mark.parametrize("value", [True, None, "1", float("nan"), float("inf"), 10**400, 1j])
def test_what_only_looks_like_a_number_is_none(value: object) -> None:
    assert not checks.is_number(value)


@pytest.mark.parametrize(
    ("check", "value", "wanted"),
    [
        (checks.need_text, "", "a non-empty string"),
        (checks.need_text, 7, "a non-empty string"),
        (checks.need_count, 0, "a positive integer"),
        (checks.need_count, True, "a positive integer"),
        (checks.need_temperature, -0.1, "at least 0"),
        (checks.need_flag, 1, "True or False"),
        (checks.need_flag, None, "True or False"),
    ],
)
def test_a_wrong_value_is_named_shown_and_told_what_is_wanted(check: Any, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"^heat={value!r}: .*{wanted}.* needed$"):
        check("heat", value)


@pytest.mark.parametrize("check", [checks.need_text, checks.need_count, checks.need_temperature])
def test_what_is_left_out_is_right(check: Any) -> None:
    check("heat", None)


def test_a_huge_value_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match="needed") as caught:
        checks.need_count("heat", "x" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_an_unknown_option_is_named_beside_the_known_ones() -> None:
    checks.need_known("toy", {"model": 1}, ["model", "heat"])
    with pytest.raises(TypeError, match=r"^toy has no option haet, hat; it has heat, model$"):
        checks.need_known("toy", {"haet": 1, "model": 1, "hat": 1}, ["model", "heat"])


def test_options_are_picked_by_the_names_of_the_fields() -> None:
    assert checks.names_of(Settings) == ("model", "heat")
    assert checks.picked({"heat": None, "other": 1}, Settings) == {"heat": None}


def test_a_call_overrides_what_it_brings() -> None:
    settings = Settings("m", 0.5)
    assert checks.for_call(settings, {"prompt": "Hi", "heat": 0, "model": None}) == Settings("m", 0)
    assert checks.for_call(settings, {"prompt": "Hi"}) is settings
    assert settings == Settings("m", 0.5)


def test_an_override_that_cannot_work_is_an_input_error() -> None:
    with pytest.raises(NeuronError, match=r"^input\.heat=-1: ") as caught:
        checks.for_call(Settings(), {"heat": -1})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
