"""Hypothesis strategies for everything that crosses the bus."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as mi

from cosmo_core.protocol.ids import TOKEN_PATTERN
from cosmo_core.protocol.payloads import PAYLOADS
from cosmo_core.protocol.signal import EVENT_ID_PATTERN, TRACE_ID_PATTERN, Directed, Signal
from cosmo_core.protocol.signal_type import SignalType


def tokens() -> st.SearchStrategy[str]:
    """Return a strategy for tokens: names of namespaces, Neurons and capabilities."""
    return st.from_regex(TOKEN_PATTERN, fullmatch=True)


def event_ids() -> st.SearchStrategy[str]:
    """Return a strategy for ids of Signals, over the whole range of ULIDs."""
    return st.from_regex(EVENT_ID_PATTERN, fullmatch=True)


def trace_ids() -> st.SearchStrategy[str]:
    """Return a strategy for ids of traces."""
    return st.from_regex(TRACE_ID_PATTERN, fullmatch=True)


def json_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values: finite numbers, any text, nested arrays and objects."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=max_leaves,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for JSON objects with arbitrary keys."""
    return st.dictionaries(st.text(), json_values(), max_size=4)


def payloads(type: SignalType) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for valid payloads of a type: required, some optional and some unknown keys."""
    drawn = _objects(PAYLOADS[type])
    if type is SignalType.TOOL_RESULT:
        drawn = drawn.filter(lambda payload: "result" in payload or "error" in payload)
    return drawn


def _objects(struct: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    fields = msgspec.structs.fields(struct)
    known = {field.encode_name for field in fields}
    required = {field.encode_name: _values(mi.type_info(field.type)) for field in fields if field.required}
    optional = {
        field.encode_name: _values(mi.type_info(field.type)) for field in fields if not field.required
    }
    unknown = st.dictionaries(st.text().filter(lambda key: key not in known), json_values(), max_size=2)
    drawn = st.fixed_dictionaries(required, optional=optional)
    return st.builds(lambda extra, payload: {**extra, **payload}, unknown, drawn)


def _values(info: mi.Type) -> st.SearchStrategy[Any]:
    match info:
        case mi.UnionType():
            return st.one_of([_values(each) for each in info.types])
        case mi.StrType():
            return st.text() if info.pattern is None else tokens()
        case mi.IntType():
            return st.integers(min_value=info.ge, max_value=info.le)
        case mi.FloatType():
            return st.floats(min_value=info.ge, max_value=info.le, allow_nan=False, allow_infinity=False)
        case mi.LiteralType():
            return st.sampled_from(info.values)
        case mi.ListType():
            return st.lists(_values(info.item_type), max_size=3)
        case mi.StructType():
            return _objects(info.cls)
        case mi.DictType():
            return json_objects()
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case _:
            return json_values()


def directed() -> st.SearchStrategy[Directed]:
    """Return a strategy for addresses, from an empty one to an id with a type and capabilities."""
    names = st.none() | tokens()
    return st.builds(Directed, names, names, st.lists(tokens(), max_size=3).map(tuple))


def signals(type: SignalType | None = None) -> st.SearchStrategy[Signal]:
    """Return a strategy for valid Signals, of one type or of all."""
    return st.sampled_from(SignalType).flatmap(_signals_of) if type is None else _signals_of(type)


@cache
def _signals_of(type: SignalType) -> st.SearchStrategy[Signal]:
    # Once per type: to make and validate the strategies takes longer than to draw from them.
    return st.builds(
        Signal,
        v=st.sampled_from(["1", "1.0", "1.7", "1.2.3"]),
        id=event_ids(),
        trace_id=trace_ids(),
        type=st.just(type),
        ts=_time_stamps(),
        payload=payloads(type),
        parent_id=st.none() | event_ids(),
        directed=st.none() | directed(),
        meta=json_objects(),
    )


def _time_stamps() -> st.SearchStrategy[str]:
    fractions = st.sampled_from(["", ".5", ".123", ".123456", ".123456789"])
    return st.builds(
        lambda moment, fraction: moment.isoformat(timespec="seconds") + fraction + "Z",
        st.datetimes(),
        fractions,
    )
