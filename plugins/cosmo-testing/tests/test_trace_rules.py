"""An example of each rule of a trace; the page about them says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cosmo_core import Signal, SignalType
from cosmo_core.protocol.ids import new_event, new_trace_id
from cosmo_core.protocol.signal import Directed
from cosmo_testing import InvalidTraceError, assert_valid_trace
from cosmo_testing.life_cycle import ANSWERS, MOVES, RULES, State

PAGE = Path(__file__).parents[3] / "docs" / "trace-life-cycle.md"
TYPE = SignalType
ERROR = {"code": "NEURON_ERROR", "message": "no", "recoverable": True}
TRACE = new_trace_id()


def root(type: SignalType, **payload: Any) -> Signal:
    return Signal.new(type, payload, trace_id=TRACE)


def anew(signal: Signal) -> Signal:
    return signal.replace(id=new_event()[0])


# --- one example of each rule -----------------------------------------------------------------------


def broken() -> dict[str, list[Signal]]:
    """Of each rule, the shortest trace whose last Signal breaks it."""
    task = root(TYPE.TASK, input={})
    first, second = (task.reply(TYPE.THOUGHT_DELTA, {"delta": "…", "seq": seq}) for seq in (0, 1))
    output = task.reply(TYPE.AGENT_OUTPUT, {"output": 1})
    final = output.reply(TYPE.FINAL, {"result": 1})
    offer = root(TYPE.TASK_OFFER, input={})
    low, high = (offer.reply(TYPE.BID, {"cost": 1}, directed=Directed(name)) for name in ("low", "high"))
    award = low.reply(TYPE.TASK_AWARDED, {"input": {}})
    stop = root(TYPE.STOP, rollback=False)
    stopped = stop.reply(TYPE.STOPPED, {"cancelled": 0, "rolled_back": 0}, meta={"dendrite": "d"})
    recall = root(TYPE.RECALL, query="q")
    recalled = recall.reply(TYPE.RECALLED, {"engram_id": "e", "hits": [], "truncated": False})
    return {
        "trace:one-trace": [task, Signal.new(TYPE.TASK, {"input": {}})],
        "trace:no-id-twice": [task, task],
        "trace:no-presence": [root(TYPE.REGISTER, role="neuron", capabilities=[])],
        "trace:cause-first": [root(TYPE.PLAN, steps=[]), output, task],
        "trace:answers-work": [task, output, output.reply(TYPE.CLARIFICATION, {"question": "?"})],
        "trace:delta-seq": [task, second, first],
        "trace:delta-before-answer": [task, output, first],
        "trace:one-answer": [task, output, task.reply(TYPE.ERROR, ERROR)],
        "trace:final-of-output": [task, task.reply(TYPE.FINAL, {"result": 1})],
        "trace:one-final": [task, output, final, anew(final)],
        "trace:bid-for-offer": [task, task.reply(TYPE.BID, {"cost": 1})],
        "trace:award-to-bidder": [
            offer,
            low,
            offer.reply(TYPE.TASK_AWARDED, {"input": {}}, directed=Directed("high")),
        ],
        "trace:award-again": [
            offer,
            low,
            high,
            award,
            award.reply(TYPE.AGENT_OUTPUT, {"output": 1}),
            high.reply(TYPE.TASK_AWARDED, {"input": {}}),
        ],
        "trace:decline-loser": [offer, low, award, low.reply(TYPE.TASK_DECLINED, {})],
        "trace:stop-work": [task, output, output.reply(TYPE.STOP, {"rollback": False})],
        "trace:stopped-once": [stop, stopped, anew(stopped)],
        "trace:answers-question": [task, task.reply(TYPE.CLARIFICATION_ANSWER, {"answer": 1})],
        "trace:tool-result": [
            root(TYPE.TOOL_CALL, tool="t", args={}, call_id="1"),
            root(TYPE.TOOL_RESULT, tool="t", result=1, call_id="2"),
        ],
        "trace:memory-once": [recall, recalled, anew(recalled)],
    }


def test_every_rule_has_an_example() -> None:
    assert broken().keys() == RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_an_error_names_the_rule_and_the_signal(rule: str) -> None:
    trace = broken()[rule]
    offending = trace[1] if rule in {"trace:cause-first", "trace:delta-seq"} else trace[-1]
    with pytest.raises(AssertionError) as caught:
        assert_valid_trace(trace)
    assert str(caught.value).startswith(f"{rule}: {offending.type.value} {offending.id} ")
    assert RULES[rule] in str(caught.value)


def test_stopped_winner_may_still_answer() -> None:
    *trace, again = broken()["trace:award-again"]
    award, output = trace[-2:]
    given_up = award.reply(TYPE.STOP, {"rollback": False})
    assert_valid_trace([*trace, given_up, again, again.reply(TYPE.AGENT_OUTPUT, {"output": 2})])
    assert_valid_trace([*trace[:-1], again, output])
    assert_valid_trace([*trace, root(TYPE.STOP, rollback=False), again])


def test_declined_bidder_may_be_awarded_later_and_repeated_bid_changes_nothing() -> None:
    *trace, high = broken()["trace:award-again"][:3]
    declined = high.reply(TYPE.TASK_DECLINED, {})
    award = high.reply(TYPE.TASK_AWARDED, {"input": {}})
    trace = [*trace, high, declined, anew(high), award, anew(high)]
    assert_valid_trace(trace)
    for again in (award, declined):
        with pytest.raises(InvalidTraceError):
            assert_valid_trace([*trace, anew(again)])


def test_error_replaces_final_only_if_final_was_requested() -> None:
    for payload, rule in (({"finalize": True}, "trace:one-final"), ({}, "trace:one-answer")):
        task = root(TYPE.TASK, input={}, **payload)
        output = task.reply(TYPE.AGENT_OUTPUT, {"output": 1})
        final = output.reply(TYPE.FINAL, {"result": 1})
        with pytest.raises(InvalidTraceError, match=rule):
            assert_valid_trace([task, output, task.reply(TYPE.ERROR, ERROR), final])


def test_replicas_of_one_neuron_bid_each_for_itself() -> None:
    offer = root(TYPE.TASK_OFFER, input={})
    bids = [offer.reply(TYPE.BID, {"cost": 1}, directed=Directed("a"), meta={"dendrite": d}) for d in "xy"]
    award = offer.reply(TYPE.TASK_AWARDED, {"input": {}}, directed=Directed("a"))
    declined = offer.reply(TYPE.TASK_DECLINED, {}, directed=Directed("a"))
    assert_valid_trace([offer, *bids, award, declined])
    with pytest.raises(InvalidTraceError, match="decline-loser"):
        assert_valid_trace([offer, *bids, award, declined, anew(declined)])


# --- the automaton and its page ---------------------------------------------------------------------


def test_page_lists_the_rules() -> None:
    rows = re.findall(r"^\| `(trace:[a-z-]+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == list(RULES.items())


def test_page_draws_the_automaton() -> None:
    drawing = PAGE.read_text("utf-8").partition("```text")[2].partition("```")[0]
    drawn = set(re.findall(r"[A-Z]{3,}(?:_[A-Z]+)*", drawing))
    moved = {type.value for moves in MOVES.values() for type in moves}
    opened = {type.value for answer in ANSWERS.values() for type in answer.parents}
    assert drawn == moved | opened | {"TOOL_CALL", "TOOL_RESULT"}


def test_every_move_and_every_answer_is_in_both_tables() -> None:
    assert {type for moves in MOVES.values() for type in moves} == ANSWERS.keys()
    assert {rule for answer in ANSWERS.values() for rule in (answer.stray, answer.again)} < RULES.keys()
    reached = {state for moves in MOVES.values() for state in moves.values()}
    begun = {State.RUNNING, State.RUNNING_TO_FINAL, State.ASKED}
    assert reached | begun == set(State)
