"""The types of Signals, and which part may emit which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SignalType(StrEnum):
    """Everything that may cross the bus."""

    # Enum hashes in Python; a Signal's path looks its type up several times.
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
"""What an Axon may produce (P-10.1)."""

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
"""What a Dendrite with ``role="worker"`` may not emit (P-10.2)."""

TERMINAL_TYPES: Final = frozenset(
    {
        SignalType.AGENT_OUTPUT,
        SignalType.CLARIFICATION,
        SignalType.PERMISSION,
        SignalType.ERROR,
        SignalType.FINAL,
    }
)
"""What ends `Pathway.wait` (P-11.1)."""

ANSWER_TYPES: Final = TERMINAL_TYPES - {SignalType.FINAL}
"""What answers a TASK; each has one (P-5.5)."""

ENDING_TYPES: Final = TERMINAL_TYPES - {SignalType.AGENT_OUTPUT}
"""What a Pathway with ``scope="terminal"`` sees (P-11.4)."""

CLOSING_TYPES: Final = frozenset({SignalType.FINAL, SignalType.ERROR})
"""What closes a Pathway (P-11.3)."""
