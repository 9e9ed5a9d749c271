"""The life cycle of a trace, as data: its rules, and the automaton that most of them come from.

``docs/trace-life-cycle.md`` draws it. What happens between one Signal and one party that answers it is an
exchange; an exchange is in one state, and `MOVES` says which type takes it to which other state.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, auto
from typing import Final

import attrs

from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType

RULES: Final[dict[str, str]] = {
    "trace:one-trace": "All Signals have one `trace_id`.",
    "trace:no-id-twice": "No `id` comes twice.",
    "trace:no-presence": "REGISTER, HEARTBEAT, DEREGISTER and DISCOVER are part of no trace.",
    "trace:cause-first": "A parent that the trace contains comes before its child.",
    "trace:answers-work": (
        "THOUGHT_DELTA, AGENT_OUTPUT, CLARIFICATION and PERMISSION have a TASK or TASK_AWARDED as parent."
    ),
    "trace:delta-seq": "The THOUGHT_DELTAs of a TASK have the `seq` 0, 1, 2, …",
    "trace:delta-before-answer": "No THOUGHT_DELTA comes after what answers its TASK.",
    "trace:one-answer": (
        "One AGENT_OUTPUT, CLARIFICATION, PERMISSION or ERROR answers a TASK;"
        " only where FINAL was asked for, an ERROR may come in its place."
    ),
    "trace:final-of-output": (
        "A FINAL of a Neuron has the AGENT_OUTPUT as parent; any other has none, or one that is no TASK."
    ),
    "trace:one-final": "An AGENT_OUTPUT has one FINAL, and none after an ERROR in its place.",
    "trace:bid-for-offer": "A BID has a TASK_OFFER as parent.",
    "trace:award-to-bidder": (
        "TASK_AWARDED and TASK_DECLINED go to who has bid:"
        " their parent is its BID, or the TASK_OFFER, and they name the BID or are directed to the bidder."
    ),
    "trace:award-again": (
        "A TASK_OFFER is awarded again only to another bidder,"
        " and not when the award before was answered with anything but ERROR, unless it was stopped."
    ),
    "trace:decline-loser": "TASK_DECLINED goes once to a bidder, and not to one who was awarded.",
    "trace:stop-work": "A STOP has a TASK, TASK_OFFER or TASK_AWARDED as parent, or none in the trace.",
    "trace:stopped-once": "STOPPED has a STOP as parent, and each Dendrite sends it once.",
    "trace:answers-question": (
        "A CLARIFICATION_ANSWER has a CLARIFICATION as parent, a PERMISSION_DECISION a PERMISSION."
    ),
    "trace:tool-result": "A TOOL_RESULT comes once for each TOOL_CALL of its `tool` and `call_id`.",
    "trace:memory-once": "RECALLED has a RECALL as parent, IMPRINTED an IMPRINT; each Engram sends it once.",
}
"""What holds for every trace, by id."""

WORK: Final = frozenset({SignalType.TASK, SignalType.TASK_AWARDED})
"""What a Neuron runs."""

PRESENCE: Final = frozenset(
    {SignalType.REGISTER, SignalType.HEARTBEAT, SignalType.DEREGISTER, SignalType.DISCOVER}
)
"""What concerns a namespace, and no workflow."""


class State(StrEnum):
    """How far an exchange is."""

    ASKED = auto()
    """Nothing was answered yet; for all but work."""
    RUNNING = auto()
    """Work, dispatched."""
    RUNNING_TO_FINAL = auto()
    """Work, dispatched with ``finalize``."""
    ANSWERED = auto()
    """There is an AGENT_OUTPUT; whoever watches may promote it."""
    FINAL_DUE = auto()
    """There is an AGENT_OUTPUT, and FINAL was asked for."""
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
        # Several may answer a question, and decide anew.
        SignalType.CLARIFICATION_ANSWER: State.ASKED,
        SignalType.PERMISSION_DECISION: State.ASKED,
        SignalType.RECALLED: State.DONE,
        SignalType.IMPRINTED: State.DONE,
        SignalType.STOPPED: State.DONE,
    },
    # A further BID of a bidder changes nothing.
    State.BIDDING: {
        SignalType.BID: State.BIDDING,
        SignalType.TASK_AWARDED: State.WON,
        SignalType.TASK_DECLINED: State.LOST,
    },
    # When the winner failed, the next best may have been declined already.
    State.LOST: {SignalType.BID: State.LOST, SignalType.TASK_AWARDED: State.WON},
    State.WON: {SignalType.BID: State.WON},
}
"""The automaton: what may come in a state, and the state it leads to. Everything else breaks a rule."""

SUCCEEDED: Final = frozenset({State.ANSWERED, State.FINAL_DUE, State.DONE})
"""States of work that leave nothing to award again."""


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
    """What a type of Signal answers.

    Attributes:
        parents: The types that its parent may have.
        stray: The rule that is broken when its parent is none of them.
        again: The rule that is broken when the automaton has no move for it.
        party: Tells apart who may each answer once.
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
"""Who answers what. Of a type that is not here, any number may come at any time."""
