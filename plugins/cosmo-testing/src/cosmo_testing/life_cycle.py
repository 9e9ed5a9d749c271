"""The life cycle of a trace, as data: its rules, and the automaton behind most of them.

``docs/trace-life-cycle.md`` draws it. An exchange consists of a Signal and the answers of one party. It is in
one state, and `MOVES` has the state to which each type of Signal leads.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, auto
from typing import Final

import attrs

from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

RULES: Final[dict[str, str]] = {
    "trace:one-trace": "All Signals MUST have the same `trace_id`.",
    "trace:no-id-twice": "An `id` MUST NOT occur twice.",
    "trace:no-presence": "REGISTER, HEARTBEAT, DEREGISTER and DISCOVER MUST NOT be part of a trace.",
    "trace:cause-first": "A parent in the trace MUST come before its child.",
    "trace:answers-work": (
        "The parent of THOUGHT_DELTA, AGENT_OUTPUT, CLARIFICATION and PERMISSION"
        " MUST be a TASK or TASK_AWARDED."
    ),
    "trace:delta-seq": "The THOUGHT_DELTAs of a TASK MUST have the `seq` 0, 1, 2, …",
    "trace:delta-before-answer": "A THOUGHT_DELTA MUST NOT come after the answer to its TASK.",
    "trace:one-answer": (
        "A TASK MUST NOT have two answers, which are AGENT_OUTPUT, CLARIFICATION, PERMISSION and ERROR;"
        " but if FINAL was requested, an ERROR MAY follow the AGENT_OUTPUT in place of the FINAL."
    ),
    "trace:final-of-output": (
        "The parent of a Neuron's FINAL MUST be the AGENT_OUTPUT;"
        " another FINAL MUST NOT have a TASK as parent."
    ),
    "trace:one-final": "An AGENT_OUTPUT MUST NOT have two FINALs, or a FINAL after an ERROR in its place.",
    "trace:bid-for-offer": "The parent of a BID MUST be a TASK_OFFER.",
    "trace:award-to-bidder": (
        "TASK_AWARDED and TASK_DECLINED MUST go to a bidder: their parent is the BID,"
        " or it is the TASK_OFFER and they name the BID or are directed to the bidder."
    ),
    "trace:award-again": (
        "A second award of a TASK_OFFER MUST go to another bidder,"
        " and only if the earlier award has no answer, has the answer ERROR, or was stopped."
    ),
    "trace:decline-loser": (
        "TASK_DECLINED MUST go to a bidder at most once, and MUST NOT go to a bidder with an award."
    ),
    "trace:stop-work": (
        "The parent of a STOP MUST be a TASK, TASK_OFFER or TASK_AWARDED, or not be in the trace."
    ),
    "trace:stopped-once": (
        "The parent of STOPPED MUST be a STOP, and each Dendrite MUST send it at most once."
    ),
    "trace:answers-question": (
        "The parent of a CLARIFICATION_ANSWER MUST be a CLARIFICATION,"
        " that of a PERMISSION_DECISION a PERMISSION."
    ),
    "trace:tool-result": "A TOOL_RESULT MUST come once for each TOOL_CALL with its `tool` and `call_id`.",
    "trace:memory-once": (
        "The parent of RECALLED MUST be a RECALL, that of IMPRINTED an IMPRINT;"
        " each Engram MUST send it at most once."
    ),
}
"""The rules of every trace, by id."""

WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_AWARDED})
"""The types that a Neuron runs."""

PRESENCE: Final = frozenset(
    {SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER, SignalType.DISCOVER}
)
"""The types that announce participants of a namespace; they belong to no trace."""


class State(StrEnum):
    """The state of an exchange."""

    ASKED = auto()
    """No answer yet; for everything except work."""
    RUNNING = auto()
    """Work, dispatched."""
    RUNNING_TO_FINAL = auto()
    """Work, dispatched with ``finalize``."""
    ANSWERED = auto()
    """There is an AGENT_OUTPUT; an observer may promote it to FINAL."""
    FINAL_DUE = auto()
    """There is an AGENT_OUTPUT, and FINAL was requested."""
    DONE = auto()
    FAILED = auto()
    BIDDING = auto()
    LOST = auto()
    WON = auto()


_RUN: Final = {
    SignalType.CLARIFICATION: State.DONE,
    SignalType.PERMISSION: State.DONE,
    SignalType.ERROR: State.FAILED,
}

MOVES: Final[dict[State, dict[SignalType, State]]] = {
    State.RUNNING: {
        **_RUN,
        SignalType.THOUGHT_DELTA: State.RUNNING,
        SignalType.AGENT_OUTPUT: State.ANSWERED,
    },
    State.RUNNING_TO_FINAL: {
        **_RUN,
        SignalType.THOUGHT_DELTA: State.RUNNING_TO_FINAL,
        SignalType.AGENT_OUTPUT: State.FINAL_DUE,
    },
    State.ANSWERED: {SignalType.FINAL: State.DONE},
    State.FINAL_DUE: {SignalType.FINAL: State.DONE, SignalType.ERROR: State.FAILED},
    State.ASKED: {
        SignalType.BID: State.BIDDING,
        # A question may have several answers.
        SignalType.CLARIFICATION_ANSWER: State.ASKED,
        SignalType.PERMISSION_DECISION: State.ASKED,
        SignalType.RECALLED: State.DONE,
        SignalType.IMPRINTED: State.DONE,
        SignalType.STOPPED: State.DONE,
    },
    # Another BID of the same bidder changes nothing.
    State.BIDDING: {
        SignalType.BID: State.BIDDING,
        SignalType.TASK_AWARDED: State.WON,
        SignalType.TASK_DECLINED: State.LOST,
    },
    # If the winner fails, the next bidder may have been declined already.
    State.LOST: {SignalType.BID: State.LOST, SignalType.TASK_AWARDED: State.WON},
    State.WON: {SignalType.BID: State.WON},
}
"""The automaton: the types that are valid in a state, each with the next state."""

SUCCEEDED: Final = frozenset({State.ANSWERED, State.FINAL_DUE, State.DONE})
"""States of work after which the offer must not be awarded again."""


def _one(_: Signal) -> str:
    return ""


def _bidder(bid: Signal) -> str:
    neuron = bid.directed.id if bid.directed is not None else None
    return f"{neuron}@{bid.meta.get('dendrite')}"


def _dendrite(stopped: Signal) -> str:
    return str(stopped.meta.get("dendrite"))


def _engram(answer: Signal) -> str:
    return str(answer.payload["engram_id"])


@attrs.frozen
class Answer:
    """The answer relation of a type of Signal.

    Attributes:
        parents: The types that its parent may have.
        stray: The rule that is broken if the parent has another type.
        again: The rule that is broken if the automaton has no move for it.
        party: Returns the party of a Signal; each party may answer once.
    """

    parents: frozenset[SignalType]
    stray: str
    again: str
    party: Callable[[Signal], str] = _one


def _to(*parents: SignalType) -> frozenset[SignalType]:
    return frozenset(parents)


_BIDDERS: Final = _to(SignalType.BID, SignalType.TASK_OFFER)

ANSWERS: Final[dict[SignalType, Answer]] = {
    SignalType.THOUGHT_DELTA: Answer(WORK, "trace:answers-work", "trace:delta-before-answer"),
    SignalType.AGENT_OUTPUT: Answer(WORK, "trace:answers-work", "trace:one-answer"),
    SignalType.CLARIFICATION: Answer(WORK, "trace:answers-work", "trace:one-answer"),
    SignalType.PERMISSION: Answer(WORK, "trace:answers-work", "trace:one-answer"),
    SignalType.ERROR: Answer(WORK, "trace:answers-work", "trace:one-answer"),
    SignalType.FINAL: Answer(_to(SignalType.AGENT_OUTPUT), "trace:final-of-output", "trace:one-final"),
    SignalType.BID: Answer(_to(SignalType.TASK_OFFER), "trace:bid-for-offer", "trace:bid-for-offer", _bidder),
    SignalType.TASK_AWARDED: Answer(_BIDDERS, "trace:award-to-bidder", "trace:award-again"),
    SignalType.TASK_DECLINED: Answer(_BIDDERS, "trace:award-to-bidder", "trace:decline-loser"),
    SignalType.CLARIFICATION_ANSWER: Answer(
        _to(SignalType.CLARIFICATION), "trace:answers-question", "trace:answers-question"
    ),
    SignalType.PERMISSION_DECISION: Answer(
        _to(SignalType.PERMISSION), "trace:answers-question", "trace:answers-question"
    ),
    SignalType.RECALLED: Answer(_to(SignalType.RECALL), "trace:memory-once", "trace:memory-once", _engram),
    SignalType.IMPRINTED: Answer(_to(SignalType.IMPRINT), "trace:memory-once", "trace:memory-once", _engram),
    SignalType.STOPPED: Answer(_to(SignalType.STOP), "trace:stopped-once", "trace:stopped-once", _dendrite),
}
"""The types that answer others. Any number of Signals of another type is valid at any time."""
