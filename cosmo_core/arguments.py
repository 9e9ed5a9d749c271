"""Checks of arguments: numbers, the names of options, and objects that a contract describes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeGuard, TypeVar

import msgspec

T = TypeVar("T")

MAX_SECONDS: Final = 1e9
"""The longest time that an argument can name, in seconds: 31 years. For no limit, use None."""

_LONGEST_SHOWN_BITS: Final = 128

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer of a payload and of an argument: every larger one is not exact in some JSON readers."""


def check_seconds(name: str, value: float, *, positive: bool = False, most: float = MAX_SECONDS) -> float:
    """Return a time in seconds if it is at least 0, or above 0, and at most ``most``.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range, infinite, or not a number (NaN).
    """
    _check_type(name, value, (int, float))
    if not (value > 0 if positive else value >= 0) or value > most:
        least = "above 0" if positive else "from 0"
        raise ValueError(f"{name} is a number of seconds {least} to {most:g}, not {_shown(value)}")
    return value


def check_wait(timeout_s: float | None, name: str = "timeout_s") -> None:
    """Check the time limit of a wait: None for no limit; a negative one has passed already.

    Raises:
        TypeError: It is not a number.
        ValueError: It is infinite, not a number (NaN), or above `MAX_SECONDS`.
    """
    if timeout_s is not None:
        _check_type(name, timeout_s, (int, float))
        check_seconds(name, timeout_s if not timeout_s < 0 else 0)


def check_count(name: str, value: int, least: int = 1, most: int = MAX_INTEGER) -> int:
    """Return a number of things if it is an integer from ``least`` to ``most``.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is out of range.
    """
    _check_type(name, value, int)
    if not least <= value <= most:
        raise ValueError(f"{name} is an integer of at least {least} and at most {most}, not {_shown(value)}")
    return value


def check_flag(name: str, value: object) -> None:
    """Check that an argument is True or False, so that a text such as "false" does not count as True.

    Raises:
        TypeError: It is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")


def parse_option(text: str, type: type[T]) -> T:
    """Return the value of an option in a URL as a ``bool``, ``int`` or ``float``, written as in JSON.

    Raises:
        ValueError: It has another form. The message does not show the text, which may be a secret.
    """
    try:
        return msgspec.json.decode(text.lower(), type=type)
    except (msgspec.DecodeError, UnicodeError):
        raise ValueError("a number is written as in 5 or 0.5, and a flag is true or false") from None


def _check_type(name: str, value: object, types: type | tuple[type, ...]) -> None:
    # True and False are integers in Python, and never meant as numbers.
    if isinstance(value, bool) or not isinstance(value, types):
        wanted = "an integer" if types is int else "a number"
        raise TypeError(f"{name} is {wanted}, not {value!r}")


def _shown(value: float) -> str:
    # Python refuses to write an integer of more than 4,300 digits.
    is_huge = isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN_BITS
    return f"an integer of {int(value).bit_length()} bits" if is_huge else repr(value)


def check_options(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check the names of options.

    Args:
        what: What takes the options, for the error.
        given: The names that were given.
        known: The names that exist.

    Raises:
        TypeError: A name does not exist; the message suggests a similar one, or lists those that exist.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise TypeError(f"{what} has no option {name!r}; {did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names the most similar of the known names, or else a list of them."""
    from difflib import get_close_matches  # imported on use: only errors need it

    known = list(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"


def satisfies(value: object, contract: Callable[..., T]) -> TypeGuard[T]:
    """Report whether an object has every public attribute of a contract, a class such as `Engram`.

    What a wrapper passes on by ``__getattr__`` counts. `isinstance` ignores it since Python 3.12.
    """
    return all(hasattr(value, name) for name in vars(contract) if not name.startswith("_"))
