"""The Signal types, and the sets of types that a component may send or receive."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SignalType(StrEnum):
    """The type of a Signal."""

    # Enum implements __hash__ in Python, and each Signal's type is looked up several times.
    __hash__ = str.__hash__

    TASK = "TASK"
    AGENT_OUTPUT = "AGENT_OUTPUT"
    FINAL = "FINAL"
    ERROR = "ERROR"
    TASK_OFFER = "TASK_OFFER"
    BID = "BID"
    TASK_AWARDED = "TASK_AWARDED"
    TASK_DECLINED = "TASK_DECLINED"
    THOUGHT_DELTA = "THOUGHT_DELTA"
    PLAN = "PLAN"
    TOOL_CALL = "TOOL_CALL"
    TOOL_RESULT = "TOOL_RESULT"
    MEMORY_APPEND = "MEMORY_APPEND"
    ESCALATION = "ESCALATION"
    CONSENSUS = "CONSENSUS"
    CONTEXT_SYNC = "CONTEXT_SYNC"
    CRITIQUE = "CRITIQUE"
    AUDIT = "AUDIT"
    CLARIFICATION = "CLARIFICATION"
    CLARIFICATION_ANSWER = "CLARIFICATION_ANSWER"
    PERMISSION = "PERMISSION"
    PERMISSION_DECISION = "PERMISSION_DECISION"
    RECALL = "RECALL"
    RECALLED = "RECALLED"
    IMPRINT = "IMPRINT"
    IMPRINTED = "IMPRINTED"
    REGISTER = "REGISTER"
    DEREGISTER = "DEREGISTER"
    HEARTBEAT = "HEARTBEAT"
    DISCOVER = "DISCOVER"
    STOP = "STOP"
    STOPPED = "STOPPED"


AXON_TYPES: Final = frozenset(
    {
        SignalType.AGENT_OUTPUT,
        SignalType.THOUGHT_DELTA,
        SignalType.CLARIFICATION,
        SignalType.PERMISSION,
        SignalType.ERROR,
    }
)
"""The types that an Axon may send (P-10.1)."""

ORCHESTRATION_TYPES: Final = frozenset(
    {
        SignalType.TASK,
        SignalType.FINAL,
        SignalType.TASK_OFFER,
        SignalType.TASK_AWARDED,
        SignalType.TASK_DECLINED,
        SignalType.PLAN,
        SignalType.CONSENSUS,
        SignalType.CONTEXT_SYNC,
        SignalType.CLARIFICATION_ANSWER,
        SignalType.PERMISSION_DECISION,
        SignalType.STOP,
    }
)
"""The types that a Dendrite with ``role="worker"`` may not send (P-10.2)."""

TERMINAL_TYPES: Final = frozenset(
    {
        SignalType.AGENT_OUTPUT,
        SignalType.CLARIFICATION,
        SignalType.PERMISSION,
        SignalType.ERROR,
        SignalType.FINAL,
    }
)
"""The types that end `Pathway.wait` (P-11.1)."""

ANSWER_TYPES: Final = TERMINAL_TYPES - {SignalType.FINAL}
"""The types that answer a TASK (P-5.5)."""

ENDING_TYPES: Final = TERMINAL_TYPES - {SignalType.AGENT_OUTPUT}
"""The types that a Pathway with ``scope="terminal"`` accepts (P-11.4)."""

CLOSING_TYPES: Final = frozenset({SignalType.FINAL, SignalType.ERROR})
"""The types that close a Pathway (P-11.3)."""
