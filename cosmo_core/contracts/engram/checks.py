"""What names, tags and embeddings must be like, so that every store can keep them."""

from __future__ import annotations

import math
from typing import Final

from cosmo_core.errors import EngramError

MAX_NAME: Final = 512
"""Characters in the longest id, merge key or tag."""

MAX_TAGS: Final = 64
"""How many tags an entry, or a query, has."""

MAX_DIMENSIONS: Final = 16_000
"""How many numbers an embedding has."""


def invalid(reason: str) -> EngramError:
    """Return the error that says what is wrong with a write or a query."""
    return EngramError(reason, code="ENGRAM_INVALID")


def checked_name(what: str, value: object) -> str:
    """Return ``value`` if it can be an id, a merge key or a tag: text without control characters.

    Raises:
        EngramError: It cannot.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not _is_printable(value):
        raise invalid(f"{what} is text of 1 to {MAX_NAME} characters without control characters")
    return value


def _is_printable(value: str) -> bool:
    # Spaces of all kinds are no control characters; halves of characters cannot be stored.
    return value.isprintable() or not any(
        ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 or 0xD800 <= ord(letter) < 0xE000 for letter in value
    )


def checked_tags(value: object) -> tuple[str, ...]:
    """Return ``value`` as tags, each once; None are none.

    Raises:
        EngramError: It is no list of tags.
    """
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_TAGS:
        raise invalid(f"tags are a list of at most {MAX_TAGS} texts")
    return tuple(dict.fromkeys(checked_name("a tag", tag) for tag in value))


def checked_vector(what: str, value: object) -> tuple[float, ...] | None:
    """Return ``value`` as an embedding; None is none.

    Raises:
        EngramError: It is no list of numbers with a direction.
    """
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or not 1 <= len(value) <= MAX_DIMENSIONS
        or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
    ):
        raise invalid(f"{what} is a list of 1 to {MAX_DIMENSIONS} numbers")
    length = math.hypot(*value)
    # As it is kept: in single precision.
    if not 1e-18 < length < 1e18:
        raise invalid(f"{what} has no direction: its length must be between 1e-18 and 1e18")
    return tuple(map(float, value))
