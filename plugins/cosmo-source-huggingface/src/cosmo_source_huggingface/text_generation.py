"""The native API of HuggingFace's text-generation-inference (TGI)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmo_llm import INPUT_INVALID, UnexpectedShapeError, to_messages, to_output
from cosmo_llm.assembly import HEAD, add_to
from cosmo_llm.decoding import EventDecoder, check_finish
from cosmo_llm.http.neuron import merged
from cosmo_source_huggingface.options import LIMITS, OPENAI_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_llm import Failures
    from cosmo_source_huggingface.options import HuggingFaceOptions


class TextGeneration:
    """The dialect for ``use_chat_api=False``: plain text, without roles and without a chat template."""

    path = "/generate_stream"

    def body(self, options: HuggingFaceOptions, input: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt, and every option that has a value. ``model`` is left out: the server has one model.

        Raises:
            NeuronError: With code ``INPUT_INVALID``, when the input is not valid, or has a key of the chat
                API.
        """
        chat_only = sorted(
            name for name in OPENAI_KEYS - set(LIMITS) - {"seed"} if input.get(name) is not None
        )
        if chat_only:
            raise INPUT_INVALID.error(f"{', '.join(chat_only)} in the input: that needs use_chat_api=True")
        limits = [input[name] for name in LIMITS if input.get(name) is not None]
        parameters = {
            "max_new_tokens": limits[0] if limits else options.max_new_tokens,
            # TGI refuses a temperature of 0 and a top_p of 1; leaving them out means the same.
            "temperature": options.temperature or None,
            "top_p": options.top_p if options.top_p != 1 else None,
            "stop": list(options.stop) or None,
            "seed": input.get("seed"),
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        prompt = to_prompt(to_messages(input, system=options.system))
        return merged({"inputs": prompt, "parameters": given}, options.extra)

    def instead(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Nothing: the path alone asks for a stream."""
        return ()

    def decoder(self, failures: Failures, body: Mapping[str, Any]) -> GenerationDecoder:
        """A decoder of token events, or of a whole answer."""
        parameters = body.get("parameters")
        return GenerationDecoder(failures, bool(isinstance(parameters, dict) and parameters.get("details")))


class GenerationDecoder(EventDecoder):
    """Joins the tokens. The last event repeats the whole text.

    Args:
        failures: Makes the errors.
        keeps_tokens: Whether the tokens belong to the details, as they do in a whole answer with details.
    """

    KEY = "token"
    NOTHING = "no tokens"

    def __init__(self, failures: Failures, keeps_tokens: bool = False) -> None:
        super().__init__(failures)
        self._keeps_tokens = keeps_tokens
        self._tokens: dict[str, list[Any]] = {}
        self._text: list[str] = []
        self._head: dict[str, Any] = {}

    @property
    def begun(self) -> bool:
        """Whether any token has arrived."""
        return bool(self._text)

    @property
    def complete(self) -> bool:
        """Whether the event with the whole text has arrived."""
        return isinstance(self._head.get("generated_text"), str)

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The generated text; ``meta`` is the whole answer."""
        text = answer.get("generated_text")
        if not isinstance(text, str):
            raise UnexpectedShapeError("no generated_text")
        return to_output(text, answer)

    def add(self, part: dict[str, Any]) -> str:
        """Add one event; a special token adds no text."""
        token = part.get("token")
        if token is not None and not (isinstance(token, dict) and isinstance(token.get("text"), str)):
            raise UnexpectedShapeError("an event without the text of a token")
        details = part.get("details")
        if isinstance(details, dict):
            check_finish({}, details.get("finish_reason"), self._failures)
        rest = {name: value for name, value in part.items() if name not in ("index", "token", "top_tokens")}
        add_to(self._head, rest, HEAD)
        if token is None:
            return ""
        text: str = "" if token.get("special") else token["text"]
        self._text.append(text)
        if self._keeps_tokens:
            self._tokens.setdefault("tokens", []).append(token)
            if part.get("top_tokens"):
                self._tokens.setdefault("top_tokens", []).append(part["top_tokens"])
        return text

    def streamed(self) -> dict[str, Any]:
        """The whole text; ``meta`` holds the text and its details, as a whole answer does."""
        text = self._head["generated_text"] if self.complete else "".join(self._text)
        details = self._head.get("details")
        if self._tokens:
            details = {**(details if isinstance(details, dict) else {}), **self._tokens}
        return to_output(text, {**self._head, "generated_text": text, "details": details})


def to_prompt(messages: list[dict[str, Any]]) -> str:
    """Convert messages to one text: a prompt alone stays as it is, a conversation becomes lines to continue.

    Raises:
        NeuronError: With code ``INPUT_INVALID``, when the content of a message is not text.
    """
    for index, message in enumerate(messages):
        if not isinstance(message.get("content"), str):
            raise INPUT_INVALID.error(f"messages[{index}] is not plain text: that needs use_chat_api=True")
    roles = [message["role"] for message in messages]
    if roles in (["user"], ["system", "user"]):
        return "\n\n".join(message["content"] for message in messages)
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join([*lines, "assistant:"])
