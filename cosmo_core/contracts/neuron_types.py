"""The types of a Neuron's inputs and outputs: found in its annotations, checked, and described.

A value of JSON becomes an object of such a type. Pydantic models are recognised without importing pydantic.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    MutableMapping,
)
from functools import lru_cache, partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Final, Literal, Never, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from cosmo_core.contracts.clarification import AskBack
from cosmo_core.contracts.neuron import is_streaming
from cosmo_core.errors import OutputTypeError
from cosmo_core.protocol.payloads import MAX_DESCRIPTION
from cosmo_core.protocol.signal import plain_value

T = TypeVar("T")

MAX_REMEMBERED: Final = 256
"""The number of types whose check is remembered; beyond it the least recently used one is checked again."""

Side = Literal["input", "output"]

_MODES: Final = {"input": "validation", "output": "serialization"}
# What returns a value later, and the position of the value's type in its arguments.
_DEFERRED: Final[dict[Any, int]] = {
    AsyncIterator: 0,
    AsyncGenerator: 0,
    AsyncIterable: 0,
    Awaitable: 0,
    Coroutine: 2,
}
_OBJECTS: Final = (dict, Mapping, MutableMapping)
_OF_ANYTHING: Final = ((), (str, Any), (str, object), (Any, Any))


# --- from annotations -------------------------------------------------------------------------------


def find_type(neuron: Callable[..., Any], side: Side, given: Any = None) -> tuple[Any, dict[str, Any] | None]:
    """Return the type of a Neuron's inputs or outputs, and its JSON Schema; None for each that is missing.

    The type is ``given``, or else that of the annotation of the first parameter or of the return. Only this
    annotation is resolved. It is None if every JSON object fits, as for ``Any`` and ``dict[str, Any]``. A
    question, and the texts of a Neuron that streams, are not part of the output.

    Raises:
        TypeError: The annotation cannot be resolved, msgspec cannot check the type, or no input is of the
            type, because it is not an object.
    """
    where, type = f"{side}_type={given!r}", given
    try:
        if given is None:
            function = _function(neuron)
            module = getattr(function, "__module__", "builtins")
            where = f"the type of the {side} of {module}.{function.__qualname__}"
            type = _annotated(neuron, function, side)
        if type in (None, Any, object):
            return type, None
        _check_parts(type)
        schema = _json_schema(type, side)
    except (NameError, AttributeError, SyntaxError) as error:
        place = "at module level, above the function and outside of `if TYPE_CHECKING`"
        advice = f"define it {place}, or pass {side}_type=…"
        raise TypeError(f"{where}: it cannot be resolved: {error}; {advice}") from error
    except Exception as error:
        raise _uncheckable(where, side, error) from error
    if side == "input" and _excludes_objects(schema, schema.get("$defs", {})):
        types = "a TypedDict, a dataclass, a msgspec.Struct, a pydantic model or a dict"
        raise TypeError(
            f"{where}: {_name(type)} is not an object, as every input of a Neuron is; use {types}"
        )
    return type, schema


def check_output_type(type: Any) -> None:
    """Check that `convert_output` can convert to a type. What was found is remembered.

    Raises:
        TypeError: msgspec cannot check the type.
    """
    try:
        _check_once(type)
    except Exception as error:
        raise _uncheckable(f"output_type={type!r}", "output", error) from error


def find_description(neuron: Callable[..., Any]) -> str | None:
    """Return the first paragraph of a Neuron's docstring in one line, cut to `MAX_DESCRIPTION`."""
    while isinstance(neuron, partial):
        neuron = neuron.func
    paragraph, _, _ = inspect.cleandoc(neuron.__doc__ or "").partition("\n\n")
    return " ".join(paragraph.split())[:MAX_DESCRIPTION] or None


def _uncheckable(where: str, side: Side, error: Exception) -> TypeError:
    types = "a TypedDict, a dataclass, a msgspec.Struct, a pydantic model or another type of JSON values"
    advice = f"use {types}, or pass {side}_type=Any to check nothing"
    return TypeError(f"{where}: msgspec cannot check it: {error}; {advice}")


def _function(neuron: Callable[..., Any]) -> Any:
    """Return the function that has the annotations of a Neuron, inside decorators and partial calls."""
    neuron = inspect.unwrap(neuron)
    if isinstance(neuron, partial):
        return _function(neuron.func)
    return neuron if inspect.isroutine(neuron) else inspect.unwrap(type(neuron).__call__)


def _annotated(neuron: Callable[..., Any], function: Any, side: Side) -> Any:
    try:
        signature = inspect.signature(neuron)
    except ValueError:
        return None  # Some functions that are written in C have no signature.
    first = next(iter(signature.parameters.values()))
    hint = signature.return_annotation if side == "output" else first.annotation
    if hint is signature.empty or (side == "input" and first.kind is first.VAR_POSITIONAL):
        return None
    # `get_type_hints` of the function itself would resolve all of its annotations.
    parameters = getattr(function, "__type_params__", ())
    only = SimpleNamespace(__annotations__={side: hint}, __type_params__=parameters)
    hint = get_type_hints(only, getattr(function, "__globals__", {}), include_extras=True)[side]
    unchecked: list[Any] = [NoneType, NoReturn, Never]
    if side == "output":
        unchecked.append(AskBack)
        if is_streaming(neuron):
            unchecked.append(str)
        if (position := _DEFERRED.get(get_origin(hint) or hint)) is not None:
            hint = get_args(hint)[position] if get_args(hint) else Any
    members = tuple(member for member in _members(hint) if member not in unchecked)
    return None if not members or any(map(_fits_every_object, members)) else Union[members]  # noqa: UP007


def _members(hint: Any) -> list[Any]:
    """Return the members of a union, or the one type; both may be behind an alias of the statement `type`."""
    hint = getattr(hint, "__value__", hint)
    if get_origin(hint) in (Union, UnionType):
        return [member for each in get_args(hint) for member in _members(each)]
    return [hint]


def _fits_every_object(type: Any) -> bool:
    any_object = (get_origin(type) or type) in _OBJECTS and get_args(type) in _OF_ANYTHING
    return any_object or type in (Any, object)


# --- schemas ----------------------------------------------------------------------------------------


def _check_once(type: Any) -> None:
    try:
        hash(type)
    except TypeError:
        _check(type)  # Annotated with an object that has no hash.
    else:
        _check_cached(type)


def _check(type: Any) -> None:
    """Raise an error if msgspec cannot check a type, or if checks of pydantic in it would not run."""
    _check_parts(type)
    msgspec.json.schema(type, schema_hook=_check_custom)


_check_cached = lru_cache(MAX_REMEMBERED)(_check)


def _check_custom(found: Any) -> dict[str, Any]:
    if _base(found) is None and not _is_model(found):
        raise TypeError(f"no JSON value is an object of class {found.__qualname__}")
    # msgspec takes an empty schema for none.
    return {"$comment": "any value"}


def _check_parts(type: Any) -> None:
    for part in _parts(type):
        if hasattr(part, "__pydantic_validator__") and not _is_model(part):
            raise TypeError(f"the validators of the pydantic dataclass {part.__qualname__} would not run")


def _parts(type: Any) -> Iterator[Any]:
    """Yield a type and the types in its arguments."""
    yield type
    for each in get_args(type):
        yield from _parts(each)


def _json_schema(type: Any, side: Side) -> dict[str, Any]:
    definitions: dict[str, Any] = {}

    def of_custom(found: Any) -> dict[str, Any]:
        any_value = _check_custom(found)
        if (base := _base(found)) is not None:
            return msgspec.json.schema(base) or any_value
        # The definitions of a nested model move to the root, where msgspec has its own.
        prefix = "" if found is type else f"{found.__name__}.{len(definitions)}."
        schema: dict[str, Any] = found.model_json_schema(
            mode=_MODES[side], ref_template=f"#/$defs/{prefix}{{model}}"
        )
        definitions.update({prefix + name: each for name, each in schema.pop("$defs", {}).items()})
        return schema

    schema = msgspec.json.schema(type, schema_hook=of_custom)
    if definitions:
        schema["$defs"] = {**schema.get("$defs", {}), **definitions}
    # What a model adds to its schema may be any object.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema, enc_hook=plain_value))
    return plain


def _excludes_objects(schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Tell whether no object fits a schema."""
    schema = definitions.get(schema.get("$ref", "").removeprefix("#/$defs/"), schema)
    if members := schema.get("anyOf"):
        return all(_excludes_objects(member, definitions) for member in members)
    return "enum" in schema or "object" not in schema.get("type", "object")


# --- values -----------------------------------------------------------------------------------------


def convert(value: Any, type: Any) -> Any:
    """Convert a value of JSON to a type that msgspec can check, or to one that contains pydantic models.

    Raises:
        msgspec.ValidationError: The value does not fit; the message has the path of the first misfit.
    """
    return msgspec.convert(value, type, str_keys=True, dec_hook=_decode)


def convert_input(input: dict[str, Any], type: Any) -> Any:
    """Convert the input of a TASK to a type.

    If the type is a TypedDict, or another dictionary, the result is ``input`` itself, with its unknown keys:
    its values are replaced by the converted ones. So are those of the dictionaries and lists in it.

    Raises:
        msgspec.ValidationError: The input does not fit.
    """
    converted = convert(input, type)
    if converted.__class__ is dict and converted == input:
        # There are no unknown keys to search for, and some equal values have another type, such as an enum.
        input.update(converted)
        return input
    return _merged(input, converted)


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
        raise OutputTypeError(neuron_id, _name(type), str(error)) from None


def _name(type: Any) -> str:
    return repr(type) if get_origin(type) else getattr(type, "__name__", repr(type))


def _merged(raw: Any, converted: Any) -> Any:
    """Return ``converted``, but with the dictionaries of ``raw`` in place of those without unknown keys."""
    if raw is converted:
        return raw
    if type(raw) is type(converted) is dict and raw.keys() >= converted.keys():
        for key, value in converted.items():
            raw[key] = _merged(raw[key], value)
        return raw
    if type(raw) is type(converted) is list:
        return list(map(_merged, raw, converted))
    return converted


def _is_model(type: Any) -> bool:
    """Tell whether a type is a pydantic model, without importing pydantic."""
    return hasattr(type, "__pydantic_core_schema__") and hasattr(type, "model_validate_json")


def _base(found: Any) -> Any:
    """Return what a class takes from JSON: anything for ``object``, a text for a subclass of ``str``."""
    if found is object:
        return Any
    bases = (str, int, float) if isinstance(found, type) else ()
    return next((base for base in bases if issubclass(found, base)), None)


def _decode(type: Any, value: Any) -> Any:
    if (base := _base(type)) is not None:
        return value if base is Any else type(convert(value, base))
    if not _is_model(type):
        # An exception that msgspec does not take for a failed validation.
        raise NotImplementedError(f"msgspec cannot check a {type.__qualname__}")
    # Not `model_validate`: strict models take a date, an enum or a set from JSON only.
    text = msgspec.json.encode(value)
    try:
        return type.model_validate_json(text)
    except ValueError as error:
        raise ValueError(_first_misfit(error)) from None


def _first_misfit(error: Any) -> str:
    """Return the first error of a pydantic ValidationError, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(map(str, first["loc"]))
    return f"{path}: {first['msg']}" if path else first["msg"]
