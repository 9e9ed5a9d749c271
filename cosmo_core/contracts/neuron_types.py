"""The types of inputs and outputs: how the values of JSON become objects of them."""

from __future__ import annotations

from typing import Any, TypeVar, get_origin

import msgspec

from cosmo_core.errors import OutputTypeError

T = TypeVar("T")


def convert(value: Any, type: Any) -> Any:
    """Convert a value of JSON to a type that msgspec can check, or to one that contains pydantic models.

    Raises:
        msgspec.ValidationError: The value does not fit; the message has the path of the first misfit.
    """
    return msgspec.convert(value, type, str_keys=True, dec_hook=_decode)


def convert_output(output: dict[str, Any], type: type[T], neuron_id: str) -> T:
    """Convert the ``output`` of an AGENT_OUTPUT to a type.

    A value that is not an object arrives as ``{"value": output}`` (P-5.8): it is converted if the object
    itself does not fit.

    Args:
        output: The output.
        type: Any type that an Axon takes as its ``output_type``.
        neuron_id: The Neuron that returned it, for the message of the error.

    Raises:
        OutputTypeError: The output does not fit.
        TypeError: msgspec cannot check the type.
    """
    try:
        try:
            return convert(output, type)  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            if output.keys() != {"value"}:
                raise
            return convert(output["value"], type)  # type: ignore[no-any-return]
    except NotImplementedError as error:
        raise TypeError(f"output_type={type!r}: {error}") from None
    except msgspec.ValidationError as error:
        name = repr(type) if get_origin(type) else getattr(type, "__name__", repr(type))
        raise OutputTypeError(neuron_id, name, str(error)) from None


def is_model(type: Any) -> bool:
    """Tell whether a type is a pydantic model, without importing pydantic."""
    return hasattr(type, "__pydantic_core_schema__") and hasattr(type, "model_validate_json")


def _decode(type: Any, value: Any) -> Any:
    if not is_model(type):
        # An exception that msgspec does not take for a failed validation.
        raise NotImplementedError(f"msgspec cannot check a {type.__qualname__}")
    try:
        # Not `model_validate`: strict models take a date, an enum or a set from JSON only.
        return type.model_validate_json(msgspec.json.encode(value))
    except ValueError as error:
        raise ValueError(_first_misfit(error)) from None


def _first_misfit(error: Any) -> str:
    """Return the first error of a pydantic ValidationError, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(map(str, first["loc"]))
    return f"{path}: {first['msg']}" if path else first["msg"]
