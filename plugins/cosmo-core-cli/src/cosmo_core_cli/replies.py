"""From a line that somebody typed, or a program wrote, to the reply that a Neuron gets."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

from cosmo_core_cli.failing import Mistake

YES: Final = frozenset({"y", "yes"})
NO: Final = frozenset({"n", "no"})


@attrs.frozen
class Decision:
    """What became of a PERMISSION.

    Attributes:
        granted: Whether it may.
        reason: Why.
    """

    granted: bool
    reason: str | None = None


def typed_decision(line: str) -> Decision | None:
    """Read what somebody typed: ``y`` or ``n``, and a reason; None if it is neither."""
    word, _, reason = line.strip().partition(" ")
    if word.lower() not in YES | NO:
        return None
    return Decision(word.lower() in YES, reason.strip() or None)


def json_answer(line: str) -> Any:
    """Read what a program answers to a CLARIFICATION: any JSON.

    Raises:
        Mistake: It is none.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Mistake(
            f'an answer is not JSON: {error}; with --json, write text as in "Monday", with its quotes'
        ) from None


def json_decision(line: str) -> Decision:
    """Read what a program decides: true, false, or an object with ``granted`` and a ``reason``.

    Raises:
        Mistake: It is none of these.
    """
    match json_answer(line):
        case bool(granted) | {"granted": bool(granted), "reason": None}:
            return Decision(granted)
        case {"granted": bool(granted), "reason": str(reason)}:
            return Decision(granted, reason)
        case {"granted": bool(granted), **others} if not others:
            return Decision(granted)
    raise Mistake('a decision is true, false, or {"granted": true, "reason": "…"}')
