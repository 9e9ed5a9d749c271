"""The payloads: one class per type of Signal, with its required and optional keys.

Decoding validates payloads against these classes, and the JSON Schema is generated from them. A Signal's
payload itself stays the plain object from the wire, so that unknown keys survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import encode

from cosmo_core.arguments import MAX_INTEGER
from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.signal_type import SignalType

if TYPE_CHECKING:
    Object = dict[str, Any]
else:
    # With a type for the values at run time, every validation would copy the object.
    Object = dict
Token = Annotated[str, Meta(pattern=f"^{TOKEN_PATTERN}$(?!\\n)")]
MAX_CAPABILITIES: Final = 1_000
"""The most capabilities of a Neuron, and that a TASK, an offer or a DISCOVER can ask for."""

MAX_OTHERS: Final = 1_000
"""The most further entities that one REGISTER can announce (P-4.19)."""

MAX_DESCRIPTION: Final = 1_024
"""The most characters of the description of a Neuron (P-4.18)."""

MAX_SCHEMA_BYTES: Final = 65_536
"""The most bytes, as JSON, of the schema of a Neuron's inputs, and of that of its outputs (P-4.18)."""

Capabilities = Annotated[list[Token], Meta(max_length=MAX_CAPABILITIES)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Millis = Count
Probability = Annotated[float, Meta(ge=0, le=1)]


class Task(Struct):
    """Work for one Neuron.

    ``deadline_ms`` is how many milliseconds after sending an answer is still useful (P-5.9). ``finalize``
    asks the host to send the output as FINAL too (P-5.15).
    """

    input: Object
    context_ref: str | None = None
    capabilities: Capabilities | None = None
    finalize: bool | None = None
    deadline_ms: Millis | None = None


class AgentOutput(Struct):
    """The output of a Neuron."""

    output: Any


class Final_(Struct):  # noqa: N801 - typing.Final is taken
    """The result of a whole workflow; ends its trace."""

    result: Any


class Error(Struct):
    """A failure, with a stable code."""

    code: str
    message: str
    recoverable: bool


class TaskOffer(Struct):
    """Work that Neurons may bid for."""

    input: Object
    capabilities: Capabilities | None = None
    deadline_ms: Millis | None = None


class Bid(Struct):
    """A Neuron's bid for a TASK_OFFER."""

    cost: float
    eta_ms: Millis | None = None
    confidence: Probability | None = None


class TaskAwarded(Struct):
    """The offered work, as a TASK for the winner; ``winning_bid`` is the id of its BID."""

    input: Object
    winning_bid: Any = None
    context_ref: str | None = None
    finalize: bool | None = None
    deadline_ms: Millis | None = None


class TaskDeclined(Struct):
    """Tells a bidder that it did not get the work."""

    reason: str | None = None


class ThoughtDelta(Struct):
    """One piece of a streamed output; ``seq`` counts from 0."""

    delta: str
    seq: Count


class Plan(Struct):
    """The steps that an orchestrator plans."""

    steps: list[Any]
    rationale: str | None = None


class ToolCall(Struct):
    """A request to run a tool."""

    tool: str
    args: Object
    call_id: str | None = None


class ToolResult(Struct):
    """The outcome of a tool call: a result or an error."""

    tool: str
    result: Any | UnsetType = UNSET
    error: Any | UnsetType = UNSET
    call_id: str | None = None

    def __post_init__(self) -> None:
        if self.result is UNSET and self.error is UNSET:
            message = "Object missing required field `result` (or `error`)"
            raise ValueError(message)


class MemoryAppend(Struct):
    """A note for the memory of the trace."""

    key: str
    value: Any


class Escalation(Struct):
    """Work that a Neuron passes to a higher level."""

    reason: str
    target: str | None = None


class Consensus(Struct):
    """The verdict of a group of Neurons."""

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
    """A record of a policy decision."""

    kind: str
    domain: str
    outcome: str
    attempt: Count


class Clarification(Struct):
    """A Neuron's question about its TASK."""

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
    """The result of a RECALL."""

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
    """The result of an IMPRINT."""

    engram_id: Token
    op: str
    id: str | None = None
    version: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None
    error: Any = None


class OtherEntity(Struct):
    """Another Neuron or Engram of the host that a REGISTER comes from (P-4.19)."""

    id: Token
    capabilities: Capabilities
    version: str | None = None
    load: Any = None


class Register(Struct):
    """A participant announces itself and ``others`` of its host (P-4.19); three keys describe it (P-4.17)."""

    role: str
    capabilities: Capabilities
    version: str | None = None
    others: Annotated[list[OtherEntity], Meta(max_length=MAX_OTHERS)] | None = None
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION)] | None = None
    input_schema: Object | None = None
    output_schema: Object | None = None

    def __post_init__(self) -> None:
        for name, schema in (("input_schema", self.input_schema), ("output_schema", self.output_schema)):
            if schema is not None:
                check_schema_size(name, schema)


class Deregister(Struct):
    """A participant leaves."""

    reason: str | None = None


class Heartbeat(Struct):
    """A participant is alive: ``ok``; ``draining`` if it accepts no more work; ``working`` on TASKs."""

    status: str


class Discover(Struct):
    """Asks participants to announce themselves to the sender, and to describe themselves (P-4.17)."""

    neuron: Token | None = None
    capabilities: Capabilities | None = None
    details: bool | None = None


class Stop(Struct):
    """Stops the TASK that ``parent_id`` names; without a parent, the whole trace."""

    rollback: bool
    reason: str | None = None


class Stopped(Struct):
    """The outcome of a STOP; ``failed`` maps each Engram that did not roll back to the reason (P-14.10)."""

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


def without_none(**values: Any) -> dict[str, Any]:
    """Return the keys of a payload that have a value; the others are omitted (P-1.8)."""
    return {key: value for key, value in values.items() if value is not None}


def check_schema_size(what: str, schema: dict[str, Any]) -> None:
    """Check that the schema of a Neuron's inputs or outputs may be sent.

    Raises:
        ValueError: It is larger than `MAX_SCHEMA_BYTES`.
    """
    if (size := len(encode(schema))) > MAX_SCHEMA_BYTES:
        raise ValueError(f"{what} has {size} bytes as JSON, of at most {MAX_SCHEMA_BYTES}")
