"""What each type of Signal must carry: one class per type, required keys first.

These classes are the single source of two things: the check at decoding and the exported JSON Schema.
They are never instantiated for their own sake; a Signal's payload is the plain object from the wire, so
keys that nobody here knows survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    Object = dict[str, Any]
else:
    # Were the type of the values named at run time too, every check would copy the object.
    Object = dict
Token = Annotated[str, Meta(pattern=f"^{TOKEN_PATTERN}$(?!\\n)")]
Millis = Annotated[int, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Task(Struct):
    """Work for one Neuron.

    ``deadline_ms`` says for how many milliseconds, from when it is sent, an answer is of use (P-5.9).
    ``finalize`` asks for the output to be sent as FINAL, too (P-5.15).
    """

    input: Object
    context_ref: str | None = None
    capabilities: list[Token] | None = None
    finalize: bool | None = None
    deadline_ms: Millis | None = None


class AgentOutput(Struct):
    """What a Neuron answered."""

    output: Any


class Final_(Struct):  # noqa: N801 - typing.Final is taken
    """The result of a whole workflow; ends its trace."""

    result: Any


class Error(Struct):
    """What went wrong, under a stable code."""

    code: str
    message: str
    recoverable: bool


class TaskOffer(Struct):
    """Work that Neurons may bid for."""

    input: Object
    capabilities: list[Token] | None = None
    deadline_ms: Millis | None = None


class Bid(Struct):
    """A Neuron's offer to take a TASK_OFFER."""

    cost: float
    eta_ms: Millis | None = None
    confidence: Probability | None = None


class TaskAwarded(Struct):
    """The offered work, given to the winner: a TASK, with the id of the BID that won."""

    input: Object
    winning_bid: Any = None
    context_ref: str | None = None
    finalize: bool | None = None
    deadline_ms: Millis | None = None


class TaskDeclined(Struct):
    """Tells a bidder that another one won."""

    reason: str | None = None


class ThoughtDelta(Struct):
    """One piece of an output that is still being made; ``seq`` counts from 0."""

    delta: str
    seq: Annotated[int, Meta(ge=0)]


class Plan(Struct):
    """What an orchestrator intends to do."""

    steps: list[Any]
    rationale: str | None = None


class ToolCall(Struct):
    """A request to run a tool."""

    tool: str
    args: Object
    call_id: str | None = None


class ToolResult(Struct):
    """A tool's answer: a result or an error."""

    tool: str
    result: Any | UnsetType = UNSET
    error: Any | UnsetType = UNSET
    call_id: str | None = None

    def __post_init__(self) -> None:
        if self.result is UNSET and self.error is UNSET:
            message = "Object missing required field `result` (or `error`)"
            raise ValueError(message)


class MemoryAppend(Struct):
    """A note for whoever keeps the trace's memory."""

    key: str
    value: Any


class Escalation(Struct):
    """Work that its Neuron hands upwards."""

    reason: str
    target: str | None = None


class Consensus(Struct):
    """What a group of Neurons agreed on."""

    members: list[str]
    verdict: Any
    votes: Any = None


class ContextSync(Struct):
    """A snapshot of shared context."""

    snapshot: Any
    version: str | int | None = None


class Critique(Struct):
    """A judgement of an earlier Signal."""

    target_event_id: str
    issues: list[Any]
    verdict: Any


class Audit(Struct):
    """A record of a policy's decision."""

    kind: str
    domain: str
    outcome: str
    attempt: Annotated[int, Meta(ge=0)]


class Clarification(Struct):
    """A Neuron's question to whoever asked it."""

    question: str
    context: Any = None


class ClarificationAnswer(Struct):
    """The answer to a CLARIFICATION."""

    answer: Any


class Permission(Struct):
    """A Neuron's request to be allowed an action."""

    action: str
    scope: Any = None
    reason: str | None = None


class PermissionDecision(Struct):
    """The answer to a PERMISSION."""

    granted: bool
    reason: str | None = None
    ttl_ms: Millis | None = None


class Recall(Struct):
    """A query to shared memory (P-14.6); ``deadline_ms`` is as in a TASK."""

    query: Any
    recall_mode: Literal["first", "merge", "all"] | None = None
    deadline_ms: Millis | None = None


class Recalled(Struct):
    """What an Engram found."""

    engram_id: Token
    hits: list[Any]
    truncated: bool
    error: Any = None


class Imprint(Struct):
    """A write to shared memory (P-14.7); ``deadline_ms`` is as in a TASK."""

    op: Literal["add", "append", "merge", "upsert", "delete"]
    entry: Any
    merge_key: str | None = None
    imprint_id: str | None = None
    deadline_ms: Millis | None = None


class Imprinted(Struct):
    """What an Engram wrote."""

    engram_id: Token
    op: str
    id: str | None = None
    version: Annotated[int, Meta(ge=1)] | None = None
    error: Any = None


class Register(Struct):
    """A participant announces itself."""

    role: str
    capabilities: list[Token]
    version: str | None = None


class Deregister(Struct):
    """A participant leaves."""

    reason: str | None = None


class Heartbeat(Struct):
    """A participant is alive: ``ok``; ``draining`` when it takes no more work; ``working`` on TASKs."""

    status: str


class Discover(Struct):
    """Asks participants to announce themselves to the asker."""

    neuron: Token | None = None
    capabilities: list[Token] | None = None


class Stop(Struct):
    """Stops the TASK named by ``parent_id``, or without one the whole trace."""

    rollback: bool
    reason: str | None = None


class Stopped(Struct):
    """What a STOP stopped; ``failed`` says of each Engram that undid nothing why (P-14.10)."""

    cancelled: Any
    rolled_back: Any
    failed: Object | None = None


PAYLOADS: Final[dict[SignalType, type[Struct]]] = {
    SignalType.TASK: Task,
    SignalType.AGENT_OUTPUT: AgentOutput,
    SignalType.FINAL: Final_,
    SignalType.ERROR: Error,
    SignalType.TASK_OFFER: TaskOffer,
    SignalType.BID: Bid,
    SignalType.TASK_AWARDED: TaskAwarded,
    SignalType.TASK_DECLINED: TaskDeclined,
    SignalType.THOUGHT_DELTA: ThoughtDelta,
    SignalType.PLAN: Plan,
    SignalType.TOOL_CALL: ToolCall,
    SignalType.TOOL_RESULT: ToolResult,
    SignalType.MEMORY_APPEND: MemoryAppend,
    SignalType.ESCALATION: Escalation,
    SignalType.CONSENSUS: Consensus,
    SignalType.CONTEXT_SYNC: ContextSync,
    SignalType.CRITIQUE: Critique,
    SignalType.AUDIT: Audit,
    SignalType.CLARIFICATION: Clarification,
    SignalType.CLARIFICATION_ANSWER: ClarificationAnswer,
    SignalType.PERMISSION: Permission,
    SignalType.PERMISSION_DECISION: PermissionDecision,
    SignalType.RECALL: Recall,
    SignalType.RECALLED: Recalled,
    SignalType.IMPRINT: Imprint,
    SignalType.IMPRINTED: Imprinted,
    SignalType.REGISTER: Register,
    SignalType.DEREGISTER: Deregister,
    SignalType.HEARTBEAT: Heartbeat,
    SignalType.DISCOVER: Discover,
    SignalType.STOP: Stop,
    SignalType.STOPPED: Stopped,
}


def given(**values: Any) -> dict[str, Any]:
    """Return what of a payload was given: what has no value is left out (P-1.8)."""
    return {key: value for key, value in values.items() if value is not None}
