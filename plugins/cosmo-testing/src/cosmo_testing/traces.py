"""Checks recorded traces against the life cycle of a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType
from cosmo_testing.life_cycle import ANSWERS, MOVES, PRESENCE, RULES, SUCCEEDED, WORK, Answer, State

_STOPPABLE = WORK | {SignalType.TASK_OFFER}


class InvalidTraceError(AssertionError):
    """A trace breaks a rule of its life cycle.

    Attributes:
        rule: The id of the rule, such as ``trace:one-answer``.
        signal: The Signal that breaks it.
    """

    def __init__(self, rule: str, signal: Signal, why: str) -> None:
        self.rule = rule
        self.signal = signal
        super().__init__(f"{rule}: {signal.type.value} {signal.id} {why}. The rule: {RULES[rule]}")


def assert_valid_trace(signals: Iterable[Signal]) -> None:
    """Check that Signals are a valid trace, or the beginning of one.

    Only the order of cause and effect, and of the Signals of one sender, is checked: a bus orders nothing
    else. Missing later Signals are not an error.

    Args:
        signals: Every Signal of one trace, each once, in the order of observation.

    Raises:
        InvalidTraceError: A Signal breaks a rule. The error, an `AssertionError`, names the first one, and
            the rule; ``docs/trace-life-cycle.md`` lists the rules.
    """
    seen = list(signals)
    trace = _Trace(frozenset(signal.id for signal in seen))
    for signal in seen:
        trace.take(signal)


class _Trace:
    """The part of a trace that was observed so far."""

    def __init__(self, ids: frozenset[str]) -> None:
        self._ids = ids
        self._seen: dict[str, Signal] = {}
        self._trace_id: str | None = None
        # By the answered Signal and the answering party.
        self._states: dict[tuple[str, str], State] = {}
        self._deltas: Counter[str | None] = Counter()
        self._calls: Counter[tuple[str, str | None]] = Counter()
        self._stopped: set[str] = set()
        self._awards: dict[str, list[Signal]] = {}

    def take(self, signal: Signal) -> None:
        """Check the next Signal."""
        self._check_envelope(signal)
        answer = ANSWERS.get(signal.type)
        if answer is not None and not self._is_free(signal):
            self._answer(signal, answer)
        elif signal.type is SignalType.STOP:
            self._stop(signal)
        elif signal.type is SignalType.TOOL_CALL:
            self._calls[_call(signal)] += 1
        elif signal.type is SignalType.TOOL_RESULT:
            self._result(signal)
        self._seen[signal.id] = signal

    def _check_envelope(self, signal: Signal) -> None:
        if self._trace_id is None:
            self._trace_id = signal.trace_id
        if signal.trace_id != self._trace_id:
            raise InvalidTraceError("trace:one-trace", signal, f"is on {signal.trace_id}")
        if signal.id in self._seen:
            raise InvalidTraceError("trace:no-id-twice", signal, "repeats an id")
        if signal.type in PRESENCE:
            raise InvalidTraceError("trace:no-presence", signal, "announces a participant")
        if signal.parent_id in self._ids and signal.parent_id not in self._seen:
            raise InvalidTraceError(
                "trace:cause-first", signal, f"comes before its parent {signal.parent_id}"
            )

    def _is_free(self, signal: Signal) -> bool:
        """Tell whether a FINAL or ERROR is about the whole workflow: it answers no TASK."""
        parent = self._type_of(signal.parent_id)
        if signal.type is SignalType.FINAL:
            return signal.parent_id is None or parent not in {None, SignalType.AGENT_OUTPUT, *WORK}
        return signal.type is SignalType.ERROR and parent not in WORK

    def _type_of(self, id: str | None) -> SignalType | None:
        return self._seen[id].type if id in self._seen else None

    # --- exchanges ----------------------------------------------------------------------------------

    def _answer(self, signal: Signal, answer: Answer) -> None:
        if self._type_of(signal.parent_id) not in answer.parents:
            raise InvalidTraceError(answer.stray, signal, f"has {self._parent_text(signal)} as parent")
        key = self._exchange(signal, answer)
        state = self._states.get(key) or self._first_state(self._seen[key[0]])
        following = MOVES.get(state, {}).get(signal.type)
        if following is None:
            raise InvalidTraceError(answer.again, signal, f"comes when {key[0]} is {state.value}")
        if signal.type is SignalType.THOUGHT_DELTA:
            self._count(signal)
        elif signal.type is SignalType.TASK_AWARDED:
            self._award(signal, offer=key[0])
        self._states[key] = following

    def _exchange(self, signal: Signal, answer: Answer) -> tuple[str, str]:
        """Return the exchange of a Signal: the Signal that it answers in the end, and the party."""
        parent = self._seen[signal.parent_id or ""]
        if signal.type is SignalType.FINAL:
            return (parent.parent_id or "", "")
        if signal.type in {SignalType.TASK_AWARDED, SignalType.TASK_DECLINED}:
            bid = parent if parent.type is SignalType.BID else self._bid(signal)
            return (bid.parent_id or "", ANSWERS[SignalType.BID].party(bid))
        return (parent.id, answer.party(signal))

    def _bid(self, signal: Signal) -> Signal:
        """Return the BID that an answer to a TASK_OFFER refers to; of replicas, one that is still open."""
        named = self._seen.get(str(signal.payload.get("winning_bid")))
        if named is not None and (named.type, named.parent_id) == (SignalType.BID, signal.parent_id):
            return named
        wanted = _addressee(signal)
        bids = [
            other
            for other in self._seen.values()
            if other.type is SignalType.BID
            and other.parent_id == signal.parent_id
            and _addressee(other) == wanted
        ]
        if not bids:
            raise InvalidTraceError(
                "trace:award-to-bidder", signal, f"is directed to {wanted!r}, which did not bid"
            )
        party = ANSWERS[SignalType.BID].party
        states = (self._states[bid.parent_id or "", party(bid)] for bid in bids)
        return next(
            (bid for bid, state in zip(bids, states, strict=True) if signal.type in MOVES.get(state, {})),
            bids[0],
        )

    @staticmethod
    def _first_state(opener: Signal) -> State:
        if opener.type not in WORK:
            return State.ASKED
        return State.RUNNING_TO_FINAL if opener.payload.get("finalize") else State.RUNNING

    # --- rules that need counting -------------------------------------------------------------

    def _count(self, delta: Signal) -> None:
        expected = self._deltas[delta.parent_id]
        if delta.payload["seq"] != expected:
            raise InvalidTraceError(
                "trace:delta-seq", delta, f"has seq {delta.payload['seq']} where {expected} is due"
            )
        self._deltas[delta.parent_id] += 1

    def _award(self, award: Signal, offer: str) -> None:
        earlier = self._awards.setdefault(offer, [])
        for before in earlier:
            if self._states.get((before.id, "")) in SUCCEEDED and before.id not in self._stopped:
                raise InvalidTraceError("trace:award-again", award, f"comes after {before.id} succeeded")
        earlier.append(award)

    def _stop(self, stop: Signal) -> None:
        type = self._type_of(stop.parent_id)
        if type is not None and type not in _STOPPABLE:
            raise InvalidTraceError("trace:stop-work", stop, f"has {self._parent_text(stop)} as parent")
        self._stopped.update(self._seen if stop.parent_id is None else (stop.parent_id,))

    def _result(self, result: Signal) -> None:
        call = _call(result)
        if not self._calls[call]:
            raise InvalidTraceError("trace:tool-result", result, f"answers no open call of {call[0]!r}")
        self._calls[call] -= 1

    def _parent_text(self, signal: Signal) -> str:
        if signal.parent_id is None:
            return "nothing"
        type = self._type_of(signal.parent_id)
        return f"{signal.parent_id}, which the trace does not contain," if type is None else f"{type.value}"


def _addressee(signal: Signal) -> str | None:
    return signal.directed.id if signal.directed is not None else None


def _call(signal: Signal) -> tuple[str, str | None]:
    return signal.payload["tool"], signal.payload.get("call_id")
