"""The Neurons of a provider behind HTTP: one returns its answer, one streams it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

from cosmo_llm.failures import INPUT_INVALID, Failures
from cosmo_llm.http.options import HttpOptions
from cosmo_llm.http.transport import Decoder, Transport
from cosmo_llm.messages import PROMPT_KEYS
from cosmo_llm.options import Converter, Flag, Temperature, Text, json_object, with_suggestion
from cosmo_llm.redaction import Secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_llm.failures import Provider

SHORTEST_CREDENTIAL: Final = 8
"""A shorter key is not redacted in answers: it is a placeholder such as ``none``, and a common word."""


class LLMOptions(HttpOptions, frozen=True, kw_only=True):
    """The options that every language model behind HTTP has; ``None`` leaves a choice to the provider.

    Attributes:
        model: The model's id.
        system: The system message.
        temperature: At least 0.
        stream: Whether the Neuron yields the answer piece by piece.
        extra: Further keys of the request, as they are. They override those of the source, except that
            objects are merged.
    """

    PER_CALL: ClassVar[frozenset[str]] = frozenset(
        {"model", "system", "temperature", "extra", "timeout", "idle_timeout", "max_retries"}
    )
    PASSED_ON: ClassVar[frozenset[str]] = frozenset()
    """The keys of an input that are copied into the request unchanged."""

    model: Text | None = None
    system: Text | None = None
    temperature: Temperature | None = None
    stream: Flag = False
    extra: Annotated[Mapping[str, Any] | None, Converter(json_object)] = None

    @classmethod
    def input_keys(cls) -> frozenset[str]:
        """The keys that an input can have."""
        return cls.PER_CALL | cls.PASSED_ON | {"messages", *PROMPT_KEYS}

    def for_call(self, input: Mapping[str, Any]) -> Self:
        """These options with the values that the input overrides; ``extra`` is merged key by key.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input has an unknown key, or a value in it
                cannot work.
        """
        known = self.input_keys()
        unknown = [with_suggestion(str(name), known) for name in sorted(set(input) - known, key=str)]
        if unknown:
            raise INPUT_INVALID.error(
                f"the input has no key {', '.join(unknown)}: put what only the provider knows into extra; it "
                f"has {', '.join(sorted(known))}"
            )
        extra = input.get("extra")
        if self.extra and isinstance(extra, Mapping):
            input = {**input, "extra": merged(self.extra, extra)}
        return super().for_call(input)


def merged(body: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """A request with the keys of ``extra``; where both have an object, its keys are merged."""
    both = dict(body)
    for name, value in (extra or {}).items():
        own = both.get(name)
        both[name] = {**own, **value} if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return both


class AnswerDecoder(Decoder, Protocol):
    """Decodes the bytes of an answer, and joins its parts."""

    def output(self) -> dict[str, Any]:
        """The Neuron's output."""
        ...


T = TypeVar("T", bound=LLMOptions)
T_contra = TypeVar("T_contra", bound=LLMOptions, contravariant=True)


class Dialect(Protocol[T_contra]):
    """An API of a provider: it builds the body of a request, and reads the answer."""

    path: str
    """The path of the API under the endpoint."""

    def body(self, options: T_contra, input: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON body of a request for a stream.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid.
        """
        ...

    def instead(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """What to send if the server refuses a request because of what it says about streaming."""
        ...

    def decoder(self, failures: Failures, body: Mapping[str, Any]) -> AnswerDecoder:
        """A new decoder for the answer to a request with this body."""
        ...


class _HttpNeuron(Generic[T]):
    """The common part of both Neurons: options, API and connections.

    The provider is asked for a stream by both. It stops generating when a stream is closed, and often not
    when a call for a whole answer is.

    Args:
        options: The options of the Neuron.
        dialect: The API to use.
        provider: What the source knows about the failures of its provider.
        key: Sent as a bearer token, and redacted in every error and answer.

    Raises:
        ValueError: The environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, options: T, dialect: Dialect[T], provider: Provider, key: str | None = None) -> None:
        self._options = options
        self._dialect = dialect
        self._transport = Transport(options, {"authorization": f"Bearer {key}"} if key else None)
        keys = [key] if key else []
        self._failures = Failures(
            server=options.endpoint.base,
            timeout_s=options.timeout,
            provider=provider,
            secrets=options.secrets | Secrets(keys),
            credentials=options.credentials | Secrets(keys, shortest=SHORTEST_CREDENTIAL),
        )

    @property
    def input_keys(self) -> frozenset[str]:
        """The keys that an input can have."""
        return self._options.input_keys()

    def __repr__(self) -> str:
        model, endpoint = self._options.model, self._options.endpoint.base
        return f"<{type(self).__name__} model={model!r} endpoint={endpoint!r}>"

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones. A client given by the user stays open."""
        await self._transport.aclose()

    async def _items(self, input: Mapping[str, Any]) -> AsyncGenerator[str | dict[str, Any], None]:
        """The texts of an answer as they arrive, then the output."""
        options = self._options.for_call(input)
        # Advice names the model of this call, which may not be the model of the Neuron.
        provider = self._failures.provider.for_model(options.model)
        failures = self._failures.for_call(provider, options.timeout)
        body = self._dialect.body(options, input)
        answer = self._dialect.decoder(failures, body)
        call = self._transport.call(
            self._dialect.path, body, failures, options=options, instead=self._dialect.instead(body)
        )
        async with await self._transport.open(call, answer) as texts:
            async for text in texts:
                yield text
        yield answer.output()


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
        output: dict[str, Any] = {}
        async with aclosing(self._items(input)) as items:
            async for item in items:
                if isinstance(item, dict):
                    output = item
        return output


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
        async with aclosing(self._items(input)) as items:
            async for item in items:
                yield item
