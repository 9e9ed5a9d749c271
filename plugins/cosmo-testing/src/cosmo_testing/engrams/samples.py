"""Writes that often meet, and queries that show what they did. Needs hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import MAX_LIMIT, Query, Write
from cosmo_testing.engrams.client import parsed

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from cosmo_core.contracts.engram import EngramGuarantees

IDS: Final = ("a", "b", "c")
KEYS: Final = ("k", "l")
TAGS: Final = ("t", "u")
TRACES: Final = ("one", "two")
WORDS: Final = ("bus", "Straße", "記憶")
VECTORS: Final = ((1.0, 0.0), (0.6, 0.8), (1.0, 2.0, 3.0))


def queries(guarantees: EngramGuarantees) -> list[Query]:
    """Make the queries that show every part of what is there."""
    made: list[dict[str, Any]] = [{"limit": MAX_LIMIT}, {"limit": 2}, {"id": IDS[0]}]
    made += [{"merge_key": key, "limit": MAX_LIMIT} for key in KEYS]
    made += [{"tags": TAGS[:1]}, {"tags": TAGS, "limit": 1}, {"tags": TAGS[:1], "merge_key": KEYS[0]}]
    if guarantees.text:
        made += [{"text": word, "limit": MAX_LIMIT} for word in WORDS]
        made.append({"text": f"{WORDS[0]} {WORDS[1]}", "match": "any", "limit": 3})
        made.append({"text": " ".join(WORDS), "merge_key": KEYS[0]})
    if guarantees.vectors:
        made += [{"vector": vector, "limit": 3} for vector in (VECTORS[0], VECTORS[-1])]
        made.append({"vector": VECTORS[1], "tags": TAGS[1:]})
    return [Query.parse(query) for query in made]


def writes() -> SearchStrategy[Write]:
    """Writes with few ids, keys and traces; each needs an id of its own."""
    from hypothesis import strategies as st

    def may(name: str, values: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
        return st.just({}) | values.map(lambda value: {name: value})

    entries = st.tuples(
        # Most often without: an id and a key that do not belong together are refused.
        st.just({}) | may("id", st.sampled_from(IDS)),
        may("tags", st.lists(st.sampled_from(TAGS), max_size=2)),
        may("text", st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)),
        may("embedding", st.sampled_from(VECTORS)),
        may("more", st.dictionaries(st.sampled_from("xy"), st.integers(0, 3) | st.sampled_from(WORDS))),
    ).map(lambda parts: {key: value for part in parts for key, value in part.items()})
    keys = st.sampled_from([KEYS[0], *KEYS, None])
    ops = st.sampled_from(
        ["upsert", "upsert", "upsert", "append", "append", "merge", "merge", "delete", "add"]
    )
    traces = st.sampled_from([*TRACES, None])

    def write(op: str, entry: dict[str, Any], key: str | None, trace: str | None) -> Write:
        if key is None and (op in {"upsert", "merge"} or (op == "delete" and "id" not in entry)):
            key = KEYS[0]
        return parsed(op, entry, key, imprint_id="w", trace=trace)

    return st.builds(write, ops, entries, keys, traces)
