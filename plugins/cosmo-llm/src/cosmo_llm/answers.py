"""From a provider's bytes to what they mean, or to the error that says why they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cosmo_llm.wire import parse_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_llm.failures import Failures

T = TypeVar("T")


class UnexpectedShapeError(Exception):
    """An answer is JSON, but not what the provider's API answers; says what is missing or wrong."""


def read_answer(data: bytes | str, failures: Failures, read: Callable[[dict[str, Any]], T]) -> T:
    """Parse the JSON object that a provider sent, and read it.

    Args:
        data: The whole body, or one event of a stream.
        failures: Words what is wrong with it.
        read: Makes of the object what it means; may raise `UnexpectedShapeError`.

    Raises:
        NeuronError: It is not understood, or the provider reports an ``error`` in it.
    """
    try:
        answer = parse_object(data)
        if not answer.get("error"):
            return read(answer)
    except (ValueError, UnexpectedShapeError) as error:
        failure = failures.malformed(error, data)
    else:
        failure = failures.reported(answer)
    # Raised out here, so that it holds no other exception: that one holds all the provider sent.
    raise failure
