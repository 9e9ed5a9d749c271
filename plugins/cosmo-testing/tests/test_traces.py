"""Traces that are as they must be are accepted; each way to spoil one is refused by its own rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cosmo_core import Signal, SignalType
from cosmo_core.protocol.ids import new_event, new_trace_id
from cosmo_core.protocol.signal import Directed
from cosmo_testing import InvalidTraceError, assert_valid_trace
from cosmo_testing.life_cycle import ANSWERS

TYPE = SignalType
ERROR = {"code": "NEURON_ERROR", "message": "no", "recoverable": True}
TRACE = new_trace_id()


# --- valid traces -----------------------------------------------------------------------------------


def root(type: SignalType, **payload: Any) -> Signal:
    return Signal.new(type, payload, trace_id=TRACE)


def answered(draw: st.DrawFn, work: Signal) -> list[Signal]:
    """What a Neuron says to ``work``."""
    count = draw(st.integers(0, 3), "deltas")
    said = [work.reply(TYPE.THOUGHT_DELTA, {"delta": "…", "seq": seq}) for seq in range(count)]
    match draw(st.sampled_from(["output", "clarification", "permission", "error", "nothing"]), "answer"):
        case "output":
            output = work.reply(TYPE.AGENT_OUTPUT, {"output": 1})
            finals = [output.reply(TYPE.FINAL, {"result": 1})]
            if work.payload.get("finalize"):
                finals.append(work.reply(TYPE.ERROR, ERROR))
            said += [output, *draw(st.sampled_from([[], *([final] for final in finals)]), "final")]
        case "clarification":
            question = work.reply(TYPE.CLARIFICATION, {"question": "which?"})
            said += [question, question.reply(TYPE.CLARIFICATION_ANSWER, {"answer": "that"})]
        case "permission":
            request = work.reply(TYPE.PERMISSION, {"action": "rm"})
            said += [request, request.reply(TYPE.PERMISSION_DECISION, {"granted": False})]
        case "error":
            said += [work.reply(TYPE.ERROR, ERROR)]
    return said


@st.composite
def task_chapters(draw: st.DrawFn) -> list[Signal]:
    task = root(TYPE.TASK, input={}, **draw(st.sampled_from([{}, {"finalize": True}, {"finalize": False}])))
    said = answered(draw, task)
    if draw(st.booleans()):
        # It crosses whatever the Neuron says.
        stop = task.reply(TYPE.STOP, {"rollback": False})
        said.insert(draw(st.integers(0, len(said))), stop)
    return [task, *said]


@st.composite
def offer_chapters(draw: st.DrawFn) -> list[Signal]:
    offer = root(TYPE.TASK_OFFER, input={})
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1))
    bids = [offer.reply(TYPE.BID, {"cost": 1}, directed=Directed(name)) for name in names]
    chapter = [offer, *bids, *(anew(bid) for bid in draw(st.sets(st.sampled_from(bids))))]
    waiting = list(bids)
    while waiting:
        bid = waiting.pop(0)
        about, named = draw(st.sampled_from([(bid, {}), (offer, {}), (offer, {"winning_bid": bid.id})]))
        award = about.reply(TYPE.TASK_AWARDED, {"input": {}, **named}, directed=bid.directed)
        said = answered(draw, award)
        chapter += [award, *said]
        if said and said[-1].type is not TYPE.ERROR:
            break
    losers = draw(st.permutations(waiting))
    return chapter + [bid.reply(TYPE.TASK_DECLINED, {}, directed=bid.directed) for bid in losers]


@st.composite
def memory_chapters(draw: st.DrawFn) -> list[Signal]:
    if draw(st.booleans()):
        asked, type = root(TYPE.RECALL, query="q"), TYPE.RECALLED
        payload: dict[str, Any] = {"hits": [], "truncated": False}
    else:
        asked, type = root(TYPE.IMPRINT, op="add", entry=1), TYPE.IMPRINTED
        payload = {"op": "add"}
    engrams = draw(st.lists(st.sampled_from("abc"), unique=True))
    return [asked, *(asked.reply(type, {"engram_id": engram, **payload}) for engram in engrams)]


@st.composite
def other_chapters(draw: st.DrawFn) -> list[Signal]:
    """Tools, a STOP of everything, and what may come at any time."""
    named = draw(st.sampled_from([{}, {"call_id": "1"}, {"call_id": "2"}]))
    call = root(TYPE.TOOL_CALL, tool="t", args={}, **named)
    stop = root(TYPE.STOP, rollback=False)
    stopped = [
        stop.reply(TYPE.STOPPED, {"cancelled": 0, "rolled_back": 0}, meta={"dendrite": name}) for name in "ab"
    ]
    stray_stop = root(TYPE.TASK, input={}).reply(TYPE.STOP, {"rollback": False})
    plan = root(TYPE.PLAN, steps=[])
    chapters = [
        [call, call.reply(TYPE.TOOL_RESULT, {"tool": "t", "result": 1, **named})],
        [call, root(TYPE.TOOL_RESULT, tool="t", error="no", **named)],
        [stop, *stopped],
        [stray_stop],
        [plan, plan.reply(TYPE.CRITIQUE, {"target_event_id": plan.id, "issues": [], "verdict": "ok"})],
        [root(TYPE.ERROR, **ERROR), root(TYPE.FINAL, result=None)],
        [plan, plan.reply(TYPE.ERROR, ERROR), plan.reply(TYPE.FINAL, {"result": 1})],
    ]
    return draw(st.sampled_from(chapters))


@st.composite
def traces(draw: st.DrawFn) -> list[Signal]:
    """Chapters whose Signals come between each other's in any way."""
    chapter = task_chapters() | offer_chapters() | memory_chapters() | other_chapters()
    chapters = draw(st.lists(chapter, min_size=1, max_size=4))
    turns = draw(st.permutations([place for place, part in enumerate(chapters) for _ in part]))
    parts = [iter(part) for part in chapters]
    return [next(parts[place]) for place in turns]


@given(traces())
def test_valid_trace_is_accepted(trace: list[Signal]) -> None:
    assert_valid_trace(trace)


@given(traces(), st.data())
def test_beginning_of_a_trace_is_valid(trace: list[Signal], data: st.DataObject) -> None:
    assert_valid_trace(iter(trace[: data.draw(st.integers(0, len(trace)))]))


# --- spoilt traces ----------------------------------------------------------------------------------

Spoilt = tuple[list[Signal], set[str]]
Spoil = Callable[[list[Signal], Callable[[list[int]], int]], Spoilt]

AGAIN = {
    TYPE.AGENT_OUTPUT: "trace:one-answer",
    TYPE.CLARIFICATION: "trace:one-answer",
    TYPE.PERMISSION: "trace:one-answer",
    TYPE.ERROR: "trace:one-answer",
    TYPE.THOUGHT_DELTA: "trace:delta-seq",
    TYPE.FINAL: "trace:one-final",
    TYPE.TASK_AWARDED: "trace:award-again",
    TYPE.TASK_DECLINED: "trace:decline-loser",
    TYPE.RECALLED: "trace:memory-once",
    TYPE.IMPRINTED: "trace:memory-once",
    TYPE.STOPPED: "trace:stopped-once",
    TYPE.TOOL_RESULT: "trace:tool-result",
}
STRAY = {
    TYPE.THOUGHT_DELTA: "trace:answers-work",
    TYPE.AGENT_OUTPUT: "trace:answers-work",
    TYPE.CLARIFICATION: "trace:answers-work",
    TYPE.PERMISSION: "trace:answers-work",
    TYPE.FINAL: "trace:final-of-output",
    TYPE.BID: "trace:bid-for-offer",
    TYPE.TASK_AWARDED: "trace:award-to-bidder",
    TYPE.TASK_DECLINED: "trace:award-to-bidder",
    TYPE.CLARIFICATION_ANSWER: "trace:answers-question",
    TYPE.PERMISSION_DECISION: "trace:answers-question",
    TYPE.RECALLED: "trace:memory-once",
    TYPE.IMPRINTED: "trace:memory-once",
    TYPE.STOPPED: "trace:stopped-once",
}


def anew(signal: Signal, **changes: Any) -> Signal:
    return signal.replace(id=new_event()[0], **changes)


def answers(trace: list[Signal], types: dict[SignalType, str]) -> list[int]:
    """Where something is answered; a FINAL or ERROR of the whole workflow answers nothing."""
    parents: dict[str | None, SignalType] = {signal.id: signal.type for signal in trace}
    return [
        place
        for place, signal in enumerate(trace)
        if signal.type in types
        and (
            signal.type not in ANSWERS or parents.get(signal.parent_id or "") in ANSWERS[signal.type].parents
        )
    ]


def seen_twice(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(list(range(len(trace))))
    return [*trace, trace[place]], {"trace:no-id-twice"}


def answered_twice(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(answers(trace, AGAIN))
    again = anew(trace[place])
    return [*trace[: place + 1], again, *trace[place + 1 :]], {AGAIN[again.type]}


def retargeted(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(answers(trace, STRAY))
    changed = trace[place].replace(parent_id=new_event()[0])
    return [*trace[:place], changed, *trace[place + 1 :]], {STRAY[changed.type]}


def unasked(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    """What a Signal answers was never seen."""
    child = trace[pick(answers(trace, STRAY))]
    stray = {
        STRAY[other.type] for other in trace if other.parent_id == child.parent_id and other.type in STRAY
    }
    return [signal for signal in trace if signal.id != child.parent_id], stray


def effect_first(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    places = {signal.id: place for place, signal in enumerate(trace)}
    place = pick([place for place, signal in enumerate(trace) if signal.parent_id in places])
    rest = [*trace[:place], *trace[place + 1 :]]
    rest.insert(places[trace[place].parent_id or ""], trace[place])
    return rest, {"trace:cause-first"}


def delta_lost(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    followed = {(s.parent_id, s.payload["seq"] - 1) for s in trace if s.type is TYPE.THOUGHT_DELTA}
    place = pick([place for place, s in enumerate(trace) if (s.parent_id, s.payload.get("seq")) in followed])
    return [*trace[:place], *trace[place + 1 :]], {"trace:delta-seq"}


def delta_late(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(answers(trace, dict.fromkeys((TYPE.AGENT_OUTPUT, TYPE.CLARIFICATION, TYPE.ERROR), "")))
    count = sum(s.type is TYPE.THOUGHT_DELTA and s.parent_id == trace[place].parent_id for s in trace)
    late = anew(trace[place], type=TYPE.THOUGHT_DELTA, payload={"delta": "…", "seq": count})
    return [*trace, late], {"trace:delta-before-answer"}


def another_trace(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(list(range(1, len(trace))))
    changed = trace[place].replace(trace_id=new_trace_id())
    return [*trace[:place], changed, *trace[place + 1 :]], {"trace:one-trace"}


def presence(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(list(range(len(trace) + 1)))
    beat = root(TYPE.HEARTBEAT, status="ok")
    return [*trace[:place], beat, *trace[place:]], {"trace:no-presence"}


def won_and_declined(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    place = pick(answers(trace, {TYPE.TASK_AWARDED: ""}))
    declined = anew(trace[place], type=TYPE.TASK_DECLINED, payload={})
    return [*trace, declined], {"trace:decline-loser"}


def answer_stopped(trace: list[Signal], pick: Callable[[list[int]], int]) -> Spoilt:
    """Work is stopped, an answer is not."""
    place = pick(answers(trace, dict.fromkeys((TYPE.AGENT_OUTPUT, TYPE.BID, TYPE.FINAL, TYPE.RECALLED), "")))
    return [*trace, trace[place].reply(TYPE.STOP, {"rollback": False})], {"trace:stop-work"}


SPOILS: list[Spoil] = [
    seen_twice,
    answered_twice,
    retargeted,
    unasked,
    effect_first,
    delta_lost,
    delta_late,
    another_trace,
    presence,
    won_and_declined,
    answer_stopped,
]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@given(trace=traces(), data=st.data())
def test_invalid_trace_is_rejected_by_the_broken_rule(
    spoil: Spoil, trace: list[Signal], data: st.DataObject
) -> None:
    def pick(places: list[int]) -> int:
        assume(places)
        return data.draw(st.sampled_from(places))

    spoilt, rules = spoil(trace, pick)
    with pytest.raises(InvalidTraceError) as caught:
        assert_valid_trace(spoilt)
    assert caught.value.rule in rules, caught.value
    assert caught.value.signal in spoilt
