"""The small contract that every LLM source shares: input, output, failures.

An LLM Neuron takes ``{"prompt": …}`` or ``{"messages": […]}`` and returns ``{"response": text, "meta": …}``.
What goes wrong at its provider ends the TASK with one of the codes below, so that whoever asked can act on
it without knowing the provider. These are functions to call, not a class to inherit.
"""

from __future__ import annotations

import json
import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cosmo_core.errors import NeuronError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROMPT_KEYS: Final = ("prompt", "text", "query", "content")
"""Where a prompt is looked for; the first is the name to use, the others are accepted."""

MAX_PROVIDER_TEXT: Final = 500
"""How many characters of a provider's own words an error repeats."""

_EXPECTED: Final = 'expected {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}'
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Failure(NamedTuple):
    """How a provider failed: the code of the ERROR, and whether the same TASK may succeed if tried again."""

    code: str
    recoverable: bool

    def error(self, message: str) -> NeuronError:
        """The exception that ends a TASK this way."""
        return NeuronError(message, code=self.code, recoverable=self.recoverable)


INPUT_INVALID: Final = Failure("INPUT_INVALID", recoverable=False)
"""The input is not what the Neuron, or the provider behind it, takes."""
AUTH_FAILED: Final = Failure("AUTH_FAILED", recoverable=False)
"""The provider does not accept the key, or the key may not do this."""
MODEL_NOT_FOUND: Final = Failure("MODEL_NOT_FOUND", recoverable=False)
"""The provider knows no such model, or no such path."""
RATE_LIMITED: Final = Failure("RATE_LIMITED", recoverable=True)
"""The provider wants fewer requests."""
PROVIDER_ERROR: Final = Failure("PROVIDER_ERROR", recoverable=True)
"""The provider failed on its own side."""
PROVIDER_REFUSED: Final = Failure("PROVIDER_REFUSED", recoverable=False)
"""The provider declines for a reason of its own, such as an exhausted quota; its words say which."""
PROVIDER_UNREACHABLE: Final = Failure("PROVIDER_UNREACHABLE", recoverable=True)
"""No connection could be made, or it was cut before the answer was complete."""
PROVIDER_TIMEOUT: Final = Failure("PROVIDER_TIMEOUT", recoverable=True)
"""The answer was not complete within the source's time limit."""
PROVIDER_MALFORMED: Final = Failure("PROVIDER_MALFORMED", recoverable=False)
"""The answer is not in the provider's own format, or is larger than the source reads."""

_BY_STATUS: Final = {
    400: INPUT_INVALID,
    401: AUTH_FAILED,
    403: AUTH_FAILED,
    404: MODEL_NOT_FOUND,
    408: PROVIDER_TIMEOUT,
    413: INPUT_INVALID,
    422: INPUT_INVALID,
    429: RATE_LIMITED,
}


def failure_of_status(status: int) -> Failure:
    """Map the HTTP status of a refusal to the failure it stands for."""
    return _BY_STATUS.get(status, PROVIDER_ERROR if status >= 500 else PROVIDER_REFUSED)


def to_messages(input: Mapping[str, Any], *, system: str | None = None) -> list[dict[str, Any]]:
    """Turn a Neuron's input into chat messages, without touching the input.

    Args:
        input: Holds exactly one of ``messages`` and the `PROMPT_KEYS`; ``None`` counts as absent.
        system: Put in front as a system message, unless the messages begin with one of their own.

    Returns:
        A new list of new objects; their values are those of the input.

    Raises:
        NeuronError: With code ``INPUT_INVALID``; the message says what was expected.
    """
    given = [key for key in ("messages", *PROMPT_KEYS) if input.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "neither prompt nor messages"
        raise INPUT_INVALID.error(f"the input has {found}: {_EXPECTED}")
    key = given[0]
    messages = _checked_messages(input[key]) if key == "messages" else [_user_message(key, input[key])]
    if system is not None and messages[0]["role"] not in ("system", "developer"):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def to_output(text: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The output of every LLM Neuron: the text, and what the provider said around it."""
    return {"response": text, "meta": dict(meta)}


def _user_message(key: str, prompt: object) -> dict[str, Any]:
    if not isinstance(prompt, str) or not prompt:
        raise INPUT_INVALID.error(f"input.{key} is not a non-empty string: {_EXPECTED}")
    return {"role": "user", "content": prompt}


def _checked_messages(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise INPUT_INVALID.error(f"input.messages is not a non-empty list: {_EXPECTED}")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise INPUT_INVALID.error(f"input.messages[{index}] is not an object with a role: {_EXPECTED}")
        # Content is text, or a list of parts (images), or absent beside an assistant's tool calls.
        if not isinstance(message.get("content"), (str, list)) and not message.get("tool_calls"):
            raise INPUT_INVALID.error(f"input.messages[{index}] has no content: {_EXPECTED}")
    return [dict(message) for message in messages]


def provider_text(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Make a provider's own words fit to be repeated in an error.

    Secrets become ``[redacted]``, white space and control characters become single spaces, and what is
    longer than `MAX_PROVIDER_TEXT` ends in ``…``.
    """
    # Longest first: a secret that contains another must not survive in part.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_PROVIDER_TEXT])
    text = " ".join(text.split())
    return text if len(text) <= MAX_PROVIDER_TEXT else text[: MAX_PROVIDER_TEXT - 1] + "…"


def retry_after_s(value: str | None, *, now: float | None = None) -> float | None:
    """Read a ``Retry-After`` header as seconds from now, at least 0.

    Args:
        value: The header: seconds, or an HTTP date.
        now: Seconds since the epoch; the present by default.

    Returns:
        ``None`` when the header is absent or is neither. The value has no upper bound: compare it with the
        time that is left.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a provider's JSON object, refusing what could not travel on in a Signal.

    Raises:
        ValueError: It is not JSON, not an object, nested too deep, or holds a number or a string that JSON
            as UTF-8 cannot carry (``NaN``, ``1e999``, half a surrogate pair).
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one error for all of it
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number
