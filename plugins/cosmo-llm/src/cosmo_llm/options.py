"""Options of a source, declared once as a type with constraints.

A source declares a subclass of `Options` with one annotated field per option. The annotation says what the
option takes; msgspec checks it. A value is converted and checked when the object is made, so an `Options`
object never holds a wrong value.

Example::

    class ToyOptions(HttpOptions, frozen=True, kw_only=True):
        SOURCE = "toy"
        PER_CALL = frozenset({"model", "temperature"})

        model: Text | None = None
        temperature: Temperature | None = None
        api_key: ApiKey | None = None
        stream: Flag = False


    ToyOptions.parse({"temprature": 1})  # TypeError: toy has no option temprature (did you mean temperature?)
    ToyOptions.parse({"temperature": -1})  # ValueError: temperature=-1: a number, at least 0, is needed
"""

from __future__ import annotations

import functools
import json
import re
import reprlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy, deepcopy
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from cosmo_llm.failures import INPUT_INVALID

__all__ = [
    "HIDDEN",
    "ApiKey",
    "Converter",
    "Count",
    "Flag",
    "Options",
    "Retries",
    "Seconds",
    "Temperature",
    "Text",
    "header_mapping",
    "hidden_value",
    "json_object",
    "text_mapping",
    "with_suggestion",
    "wrong_value",
]

_HEADER: Final = (re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), re.compile(r"[ -~]*"))
_LARGEST: Final = sys.float_info.max  # as an upper bound, it excludes infinity and NaN


class Converter(NamedTuple):
    """Annotates a field whose value is converted by a function instead of by msgspec.

    Attributes:
        convert: Takes the name of the option and the given value, and returns the value to keep. It raises
            `ValueError` for a value that cannot work, and it returns its own results unchanged.
    """

    convert: Callable[[str, Any], Any]


class _Hidden:
    """The type of `HIDDEN`."""


HIDDEN: Final = _Hidden()
"""Annotates a field whose value may be secret: neither an error nor a repr shows the value."""

Text = Annotated[str, Meta(min_length=1, description="a non-empty string")]
"""A string that is not empty."""
Count = Annotated[int, Meta(ge=1, description="a positive integer")]
"""An integer, at least 1. ``True`` is not an integer here."""
Temperature = Annotated[float, Meta(ge=0, le=_LARGEST, description="a number, at least 0,")]
"""A finite number, at least 0."""
Seconds = Annotated[float, Meta(gt=0, le=_LARGEST, description="a positive number of seconds")]
"""A finite number, above 0."""
Retries = Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")]
"""How often a request is sent again."""
Flag = Annotated[bool, Meta(description="True or False")]
"""``True`` or ``False``."""
ApiKey = Annotated[
    str,
    Meta(pattern=r"\A[!-~]+\Z", description="a key of printable ASCII characters without spaces"),
    HIDDEN,
]
"""An API key that an HTTP header can carry."""


def wrong_value(name: str, value: object, wanted: str) -> ValueError:
    """The error for an option whose value cannot work; it shows the value, shortened if it is long.

    Args:
        name: The name of the option.
        value: What was given.
        wanted: What the option takes, as a noun phrase.
    """
    return ValueError(f"{name}={reprlib.repr(value)}: {wanted} is needed")


def hidden_value(name: str, value: object, wanted: str) -> ValueError:
    """The same error for a value that may be secret: it shows only the type of the value."""
    return ValueError(f"{name}: {wanted} is needed; the given {type(value).__name__} is not shown")


def text_mapping(
    name: str, value: object, keys: re.Pattern[str], texts: re.Pattern[str], wanted: str = "a valid string"
) -> Mapping[str, str] | None:
    """Convert an option that holds names with values. An error repeats no value: that may be secret.

    Args:
        name: The name of the option.
        value: What was given; ``None`` is returned as it is.
        keys: What each key must match.
        texts: What each value must match.
        wanted: What a value is to be, as a noun phrase.

    Raises:
        ValueError: It is not a mapping of such keys to such strings.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise hidden_value(name, value, "a mapping of names to values")
    for key, text in value.items():
        if not isinstance(key, str) or not keys.fullmatch(key):
            raise ValueError(f"{name}: a key is not a valid name")
        if not isinstance(text, str) or not texts.fullmatch(text):
            raise ValueError(f"{name}[{key!r}]: the value is not {wanted}")
    return dict(value)


def header_mapping(name: str, value: object) -> Mapping[str, str] | None:
    """Convert an option that holds HTTP headers. Their values are not repeated in an error.

    Raises:
        ValueError: It is not a mapping of header names to strings of printable ASCII characters.
    """
    return text_mapping(name, value, *_HEADER, "a string of printable ASCII characters")


def json_object(name: str, value: object) -> dict[str, Any] | None:
    """Convert a mapping to a JSON object of its own, so that later changes to the mapping have no effect.

    Raises:
        ValueError: It is not a mapping, or JSON cannot carry it.
    """
    if value is None:
        return None
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        try:
            json.dumps(dict(value), allow_nan=False)
            return deepcopy(dict(value))
        except (TypeError, ValueError, RecursionError):
            pass
    raise wrong_value(name, value, "a JSON object")


def with_suggestion(name: str, known: Iterable[str]) -> str:
    """A name that is not known, with the known name that is most like it, if there is one."""
    close = get_close_matches(name, known, n=1)
    return f"{name} (did you mean {close[0]}?)" if close else name


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of the options of a source.

    A subclass is declared with ``frozen=True, kw_only=True``. Every field is checked by its annotation when
    the object is made. A field annotated with a `Converter` is converted by that function.

    Raises:
        ValueError: A value cannot work. The message names the option, the value and what is needed.
    """

    SOURCE: ClassVar[str] = "the source"
    """The name of the source, for error messages."""
    PER_CALL: ClassVar[frozenset[str]] = frozenset()
    """The options that the input of a call can override."""

    def __post_init__(self) -> None:
        for field in _fields(type(self)).values():
            converted = field.convert(getattr(self, field.name))
            msgspec.structs.force_setattr(self, field.name, converted)

    def __repr__(self) -> str:
        shown = (field.name for field in _fields(type(self)).values() if not field.hidden)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all options."""
        return frozenset(_fields(cls))

    @classmethod
    def check_names(cls, given: Mapping[str, Any]) -> None:
        """Refuse options that the source does not have.

        Raises:
            TypeError: The message names them, suggests similar names, and lists the options there are.
        """
        unknown = [with_suggestion(name, cls.names()) for name in sorted(set(given) - cls.names())]
        if unknown:
            known = ", ".join(sorted(cls.names()))
            raise TypeError(f"{cls.SOURCE} has no option {', '.join(unknown)}; it has {known}")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what the user gave.

        Raises:
            TypeError: The source has no such option (the message suggests a similar name), or a required
                option is missing.
            ValueError: A value cannot work.
        """
        cls.check_names(given)
        for field in _fields(cls).values():
            if field.required and field.name not in given:
                raise TypeError(f"{cls.SOURCE} needs {field.name}: {field.wanted}")
        return cls(**given)

    def for_call(self, input: Mapping[str, Any]) -> Self:
        """These options with the values that the input of a call overrides.

        Args:
            input: The input of the call; only names in `PER_CALL` are read, and ``None`` counts as absent.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when a value in the input cannot work.
        """
        given = {name: input[name] for name in self.PER_CALL if input.get(name) is not None}
        if not given:
            return self
        options = copy(self)  # without `__post_init__`, which would check every option again
        fields = _fields(type(self))
        try:
            for name, value in given.items():
                msgspec.structs.force_setattr(options, name, fields[name].convert(value))
        except ValueError as error:
            raise INPUT_INVALID.error(f"input.{error}") from None
        return options


class _Field(NamedTuple):
    """One option, as its annotation declares it."""

    name: str
    type: Any
    wanted: str
    required: bool
    hidden: bool
    converter: Converter | None

    def convert(self, value: object) -> object:
        if self.converter is not None:
            return self.converter.convert(self.name, value)
        try:
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            error = (hidden_value if self.hidden else wrong_value)(self.name, value, self.wanted)
        raise error


@functools.cache
def _fields(kind: type[Options]) -> Mapping[str, _Field]:
    """The fields of a kind of options by name, in the order of their declaration."""
    fields = {}
    for info in msgspec.structs.fields(kind):
        notes = list(_notes(info.type))
        wanted = [note.description for note in notes if isinstance(note, Meta) and note.description]
        converters = [note for note in notes if isinstance(note, Converter)]
        fields[info.name] = _Field(
            name=info.name,
            type=info.type,
            wanted=wanted[0] if wanted else _type_name(info.type),
            required=info.required,
            hidden=HIDDEN in notes,
            converter=converters[0] if converters else None,
        )
    return fields


def _notes(annotation: Any) -> Iterator[object]:
    """What ``Annotated`` adds to a type and to the members of a union, the outermost first."""
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        yield from notes
        yield from _notes(inner)
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _notes(member)


def _type_name(annotation: Any) -> str:
    """The description of a type that has no description in a ``Meta``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return f"a value of type {getattr(annotation, '__name__', annotation)}"
