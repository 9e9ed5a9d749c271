"""Options of a source: what a declaration accepts, how errors are worded, and what a call overrides."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import NeuronError
from cosmo_llm.options import (
    HIDDEN,
    ApiKey,
    Converter,
    Count,
    Flag,
    Options,
    Seconds,
    Temperature,
    Text,
)

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def halved(name: str, value: Any) -> Any:
    if not isinstance(value, int):
        raise ValueError(f"{name} is not an integer")  # noqa: TRY004 - all errors of a value are ValueErrors
    return value // 2 * 2


class Toy(Options, frozen=True, kw_only=True):
    SOURCE: ClassVar[str] = "toy"
    PER_CALL: ClassVar[frozenset[str]] = frozenset({"model", "heat"})

    model: Text | None = None
    heat: Temperature | None = None
    size: Count | None = None
    timeout: Seconds = 60.0
    stream: Flag = False
    even: Annotated[int, Converter(halved)] = 0
    api_key: ApiKey | None = None
    token: Annotated[Text | None, HIDDEN] = None


class Needy(Options, frozen=True, kw_only=True):
    SOURCE: ClassVar[str] = "needy"

    app: Text
    colour: dict[str, int] | None = None


@given(NUMBERS)
def test_temperature_accepts_every_number_from_zero_that_json_carries(value: float) -> None:
    if 0 <= value < 1e309:
        assert Toy(heat=value).heat == pytest.approx(value)
    else:
        with pytest.raises(ValueError, match=r"^heat="):
            Toy(heat=value)


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), 10**400, 1j])
@pytest.mark.parametrize("name", ["heat", "timeout"])
def test_a_number_is_finite_and_is_not_a_bool_or_a_string(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}=.*needed$"):
        Toy(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("model", "", "a non-empty string"),
        ("model", 7, "a non-empty string"),
        ("size", 0, "a positive integer"),
        ("size", 1.5, "a positive integer"),
        ("size", True, "a positive integer"),
        ("heat", -0.1, "a number, at least 0,"),
        ("timeout", 0, "a positive number of seconds"),
        ("timeout", None, "a positive number of seconds"),
        ("stream", 1, "True or False"),
        ("stream", None, "True or False"),
    ],
)
def test_a_wrong_value_is_named_and_shown_with_what_is_needed(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value!r}: {wanted} is needed$"):
        Toy.parse({name: value})
    with pytest.raises(ValueError, match=rf"^{name}={value!r}: {wanted} is needed$"):
        msgspec.structs.replace(Toy(), **{name: value})


@pytest.mark.parametrize("name", ["model", "size", "heat"])
def test_none_is_accepted_where_it_is_the_default(name: str) -> None:
    assert Toy.parse({name: None}) == Toy()


def test_an_error_shows_a_huge_value_in_part() -> None:
    with pytest.raises(ValueError, match="needed") as caught:
        Toy(size="x" * 1_000_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_an_unknown_option_is_named_with_a_suggestion_and_the_known_ones() -> None:
    with pytest.raises(TypeError) as caught:
        Needy.parse({"colr": 1, "app": "a", "zzz": 1})
    assert str(caught.value) == "needy has no option colr (did you mean colour?), zzz; it has app, colour"


def test_a_missing_option_is_named_with_what_is_needed() -> None:
    with pytest.raises(TypeError, match=r"^needy needs app: a non-empty string$"):
        Needy.parse({})


def test_a_type_without_a_description_is_named() -> None:
    with pytest.raises(ValueError, match=r"^colour=\[1\]: a value of type .*dict.* is needed$"):
        Needy.parse({"app": "a", "colour": [1]})


def test_a_converter_converts_and_raises_its_own_error() -> None:
    assert Toy(even=7).even == 6
    with pytest.raises(ValueError, match=r"^even is not an integer$"):
        Toy.parse({"even": "7"})


@pytest.mark.parametrize(
    "value", ["two secrets", "secret\nsecret", "sécret", "secret\n", ["secret"], " ", ""]
)
def test_an_api_key_that_a_header_cannot_carry_is_not_shown(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^api_key: a key of printable ASCII characters") as caught:
        Toy(api_key=value)
    assert "cret" not in str(caught.value)


def test_a_hidden_value_is_neither_in_an_error_nor_in_the_repr() -> None:
    with pytest.raises(ValueError, match=r"^token: .* is needed; the given list is not shown$"):
        Toy(token=["secret"])  # type: ignore[arg-type]
    shown = repr(Toy(token="secret", api_key="secret", model="m"))
    assert shown == "Toy(model='m', heat=None, size=None, timeout=60.0, stream=False, even=0)"


def test_a_call_overrides_only_what_it_may() -> None:
    options = Toy(model="m", heat=0.5)
    assert options.for_call({"prompt": "Hi", "heat": 0, "model": None, "size": 7}) == Toy(model="m", heat=0)
    assert options.for_call({"prompt": "Hi", "size": 7}) is options
    assert options == Toy(model="m", heat=0.5)


def test_an_override_that_cannot_work_is_an_input_error() -> None:
    with pytest.raises(NeuronError, match=r"^input\.heat=-1: a number, at least 0, is needed$") as caught:
        Toy().for_call({"heat": -1})
    assert (caught.value.code, caught.value.recoverable) == ("INPUT_INVALID", False)
