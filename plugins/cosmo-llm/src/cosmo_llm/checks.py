"""Checks on what a user gave a source; each error begins with the name of what is wrong."""

from __future__ import annotations

import reprlib
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from cosmo_llm.codes import INPUT_INVALID

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def need(ok: bool, name: str, value: object, wanted: str) -> None:
    """Raise unless ``ok``.

    Raises:
        ValueError: Says what was given and what is wanted.
    """
    if not ok:
        raise ValueError(f"{name}={reprlib.repr(value)}: {wanted} is needed")


def need_text(name: str, value: object) -> None:
    """Accept ``None`` and a non-empty string."""
    need(value is None or (isinstance(value, str) and value != ""), name, value, "a non-empty string")


def need_count(name: str, value: object) -> None:
    """Accept ``None`` and a positive integer."""
    need(value is None or (type(value) is int and value > 0), name, value, "a positive integer")


def need_temperature(name: str, value: object) -> None:
    """Accept ``None`` and a number that is not below 0."""
    need(value is None or (is_number(value) and value >= 0), name, value, "a number, at least 0,")


def need_flag(name: str, value: object) -> None:
    """Accept ``True`` and ``False``."""
    need(isinstance(value, bool), name, value, "True or False")


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite number; ``True`` is not."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # False for NaN too
    )


def need_known(source: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse options that a source does not have.

    Raises:
        TypeError: Names them, beside those that there are.
    """
    if unknown := sorted(set(given) - set(known)):
        raise TypeError(f"{source} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")


def names_of(kind: type[DataclassInstance]) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    return tuple(field.name for field in fields(kind))


def picked(given: Mapping[str, Any], kind: type[DataclassInstance]) -> dict[str, Any]:
    """Those of the given options that are fields of a dataclass."""
    return {name: given[name] for name in names_of(kind) if name in given}


def for_call(settings: Settings, input: Mapping[str, Any]) -> Settings:
    """The settings of a Neuron, with those that the input of a call brings put in their place.

    Args:
        settings: A dataclass that checks its values when made; ``None`` in the input counts as absent.
        input: The input of the call.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when a value in the input cannot work.
    """
    given = {name: input[name] for name in names_of(type(settings)) if input.get(name) is not None}
    if not given:
        return settings
    try:
        return replace(settings, **given)
    except ValueError as error:
        raise INPUT_INVALID.error(f"input.{error}") from None
