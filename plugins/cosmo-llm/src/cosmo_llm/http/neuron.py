"""The Neurons of a provider behind HTTP: one returns its answer, one streams it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from cosmo_llm.failures import Failures, read_answer
from cosmo_llm.http.options import HttpOptions
from cosmo_llm.http.transport import Decoder, Transport
from cosmo_llm.options import Flag, Temperature, Text
from cosmo_llm.redaction import Secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cosmo_llm.failures import Provider
    from cosmo_llm.http.transport import Call


class LLMOptions(HttpOptions, frozen=True, kw_only=True):
    """The options that every language model behind HTTP has; ``None`` leaves a choice to the provider.

    Attributes:
        model: The model's id.
        system: The system message.
        temperature: At least 0.
        stream: Whether the Neuron yields the answer piece by piece.
    """

    model: Text | None = None
    system: Text | None = None
    temperature: Temperature | None = None
    stream: Flag = False


class AnswerDecoder(Decoder, Protocol):
    """Decodes the bytes of a streamed answer, and joins its parts."""

    def output(self) -> dict[str, Any]:
        """The Neuron's output, the same as without streaming."""
        ...


T = TypeVar("T", bound=LLMOptions)
T_contra = TypeVar("T_contra", bound=LLMOptions, contravariant=True)


class Dialect(Protocol[T_contra]):
    """An API of a provider: it builds the body of a request, and reads the answer."""

    def path(self, *, stream: bool) -> str:
        """The path of the API under the endpoint."""
        ...

    def body(self, options: T_contra, input: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """The JSON body of the request.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid.
        """
        ...

    def output(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The Neuron's output from a whole answer.

        Raises:
            UnexpectedShapeError: It is not an answer of this API.
        """
        ...

    def decoder(self, failures: Failures) -> AnswerDecoder:
        """A new decoder for one streamed answer."""
        ...


class _HttpNeuron(Generic[T]):
    """The common part of both Neurons: options, API and connections.

    Args:
        options: The options of the Neuron.
        dialect: The API to use.
        provider: What the source knows about the failures of its provider.
        key: Sent as a bearer token, and redacted in every error.
    """

    def __init__(self, options: T, dialect: Dialect[T], provider: Provider, key: str | None = None) -> None:
        self._options = options
        self._dialect = dialect
        self._transport = Transport(options, {"authorization": f"Bearer {key}"} if key else None)
        self._failures = Failures(
            server=options.endpoint.base,
            timeout_s=options.timeout,
            provider=provider,
            secrets=options.secrets | Secrets([key] if key else ()),
        )

    def __repr__(self) -> str:
        model, endpoint = self._options.model, self._options.endpoint.base
        return f"<{type(self).__name__} model={model!r} endpoint={endpoint!r}>"

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones. A client given by the user stays open."""
        await self._transport.aclose()

    def _call(self, input: Mapping[str, Any]) -> Call:
        # Advice names the model of this call, which may not be the model of the Neuron.
        options, stream = self._options.for_call(input), self._options.stream
        failures = self._failures.with_provider(self._failures.provider.for_model(options.model))
        body = self._dialect.body(options, input, stream=stream)
        return self._transport.call(self._dialect.path(stream=stream), body, failures)


class HttpNeuron(_HttpNeuron[T]):
    """``async (input, context) -> {"response": text, "meta": the provider's answer}``."""

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        """Answer one TASK.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or the provider failed; the README lists the codes.
        """
        call = self._call(input)
        return read_answer(await self._transport.fetch(call), call.failures, self._dialect.output)


class StreamingHttpNeuron(_HttpNeuron[T]):
    """Yields the texts of the answer as they arrive, then the output that an `HttpNeuron` returns."""

    async def __call__(
        self, input: dict[str, Any], context: list[Any]
    ) -> AsyncGenerator[str | dict[str, Any], None]:
        """Answer one TASK piece by piece.

        Args:
            input: A prompt or messages, and options for this call only.
            context: Not used; the prompt comes from the input alone.

        Raises:
            NeuronError: The input is not valid, or the provider failed; the README lists the codes.
        """
        call = self._call(input)
        answer = self._dialect.decoder(call.failures)
        async with await self._transport.open(call, answer) as texts:
            async for text in texts:
                yield text
        yield answer.output()
