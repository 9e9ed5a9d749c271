"""The two languages a server may speak, as the Neuron sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cosmo_source_huggingface.options import HuggingFaceOptions


class StreamedAnswer(Protocol):
    """An answer that comes in pieces.

    Attributes:
        complete: Whether the provider has said that this is all.
    """

    complete: bool

    def feed(self, event: dict[str, Any]) -> str:
        """Take one event and return the text it adds, which may be empty.

        Raises:
            UnexpectedShapeError: It is not such an event.
        """
        ...

    def output(self) -> dict[str, Any]:
        """The Neuron's output, as it would have been without streaming."""
        ...


class Dialect(Protocol):
    """How a request is worded, and how its answer is read."""

    def path(self, *, stream: bool) -> str:
        """The path of the API under the endpoint."""
        ...

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The JSON body of the request.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input does not fit.
        """
        ...

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The Neuron's output from a whole answer.

        Raises:
            UnexpectedShapeError: It is not such an answer.
        """
        ...

    def streamed(self) -> StreamedAnswer:
        """A new, empty answer to feed."""
        ...
