"""Types of inputs and outputs: resolved from annotations, converted, and announced."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from cosmo_core import CosmoError, OutputTypeError, convert_output


class Leaf(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    at: dt.date
    tags: set[str] = pydantic.Field(default_factory=set, alias="tagNames")


@attrs.frozen
class Plan:
    steps: list[str]
    leaf: Leaf | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Told(TypedDict):
    value: int


LEAF = Leaf(at=dt.date(2026, 1, 2), tagNames={"a"})


# --- convert_output ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "type", "expected"),
    [
        ({"steps": ["a"], "more": 1}, Plan, Plan(["a"])),
        ({"steps": [], "leaf": {"at": "2026-01-02", "tagNames": ["a"]}}, Plan, Plan([], LEAF)),
        ({"at": "2026-01-02", "tagNames": ["a"]}, Leaf, LEAF),
        ({"value": [{"at": "2026-01-02", "tagNames": ["a"]}]}, list[Leaf], [LEAF]),
        ({"value": {"steps": ["a"]}}, Plan, Plan(["a"])),
        ({"value": 1}, Told, {"value": 1}),
        ({"value": 1}, int, 1),
        ({"value": [1, "a"]}, Pair, Pair(1, "a")),
        ({"1": "2026-01-02"}, dict[int, dt.date], {1: dt.date(2026, 1, 2)}),
        ({"value": 1}, Any, {"value": 1}),
    ],
)
def test_convert_output_returns_an_object_of_the_type(output: Any, type: Any, expected: Any) -> None:
    assert convert_output(output, type, "plan") == expected


@pytest.mark.parametrize(
    ("output", "type", "reason"),
    [
        ({"step": []}, Plan, "a valid Plan: Object missing required field `steps`"),
        ({"steps": ["a", 1]}, Plan, "a valid Plan: Expected `str`, got `int` - at `$.steps[1]`"),
        ({"steps": [], "leaf": {}}, Plan, "a valid Plan: at: Field required - at `$.leaf`"),
        ({"at": "secret"}, Leaf, "a valid Leaf: at: Input should be a valid date in the format YYYY-MM-DD"),
        ({"value": ["a"]}, list[int], "a valid list[int]: Expected `int`, got `str` - at `$[0]`"),
        ({"value": 1, "more": 2}, int, "a valid int: Expected `int`, got `object`"),
    ],
)
def test_convert_output_names_neuron_type_and_path(output: Any, type: Any, reason: str) -> None:
    with pytest.raises(OutputTypeError) as raised:
        convert_output(output, type, "plan")
    assert str(raised.value).startswith(f"the output of Neuron 'plan' is not {reason}")
    assert "secret" not in str(raised.value)
    assert raised.value.neuron_id == "plan"
    assert raised.value.reason in reason or reason.endswith("MM-DD")
    assert isinstance(raised.value, CosmoError | ValueError)


@pytest.mark.parametrize("type", [complex, list[complex], Leaf | int])
def test_convert_output_rejects_a_type_without_json_values(type: Any) -> None:
    with pytest.raises(TypeError, match=r"msgspec cannot check|is not supported"):
        convert_output({"value": [1]}, type, "plan")


def test_convert_output_does_not_hide_errors_of_the_type_itself() -> None:
    class Broken(msgspec.Struct):
        def __post_init__(self) -> None:
            raise LookupError("own bug")

    with pytest.raises(LookupError, match="own bug"):
        convert_output({}, Broken, "plan")
