"""Valid queries and writes: section 14."""

from __future__ import annotations

from typing import Any

import pytest

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Query, Write


@pytest.mark.clause("P-14.6")
@pytest.mark.parametrize(
    "query",
    [
        None,
        "text",
        {"tag": "a"},
        {"id": ""},
        {"id": 7},
        {"merge_key": "x" * 513},
        {"tags": "a"},
        {"tags": [1]},
        {"text": 5},
        {"match": "some"},
        {"vector": []},
        {"vector": ["a"]},
        {"vector": [0.0, 0.0]},
        {"limit": 0},
        {"limit": 1001},
        {"limit": True},
    ],
    ids=str,
)
def test_invalid_query_is_refused(query: Any) -> None:
    with pytest.raises(EngramError) as caught:
        Query.parse(query)
    assert caught.value.code == "ENGRAM_INVALID"


@pytest.mark.clause("P-14.7")
@pytest.mark.parametrize(
    "write",
    [
        {"op": "replace"},
        {"entry": [1]},
        {"entry": {"a": object}},
        {"entry": {"a": "x" * 983_040}},
        {"entry": {"a": "\ud800"}},
        {"entry": {"id": ""}},
        {"entry": {"id": "a\nb"}},
        {"entry": {"tags": "a"}},
        {"entry": {"tags": [str(number) for number in range(65)]}},
        {"entry": {"embedding": [1.0] * 16_001}},
        {"entry": {"embedding": [True]}},
        {"op": "upsert"},
        {"op": "merge"},
        {"op": "delete"},
        {"merge_key": 5},
        {"merge_key": "a\0b"},
        {"merge_key": "\ud800"},
        {"merge_key": "x" * 513},
        {"imprint_id": ""},
    ],
    ids=lambda write: str(write)[:40],
)
def test_invalid_write_is_refused(write: dict[str, Any]) -> None:
    arguments = {"op": "append", "entry": {}, "imprint_id": "i", **write}
    with pytest.raises(EngramError) as caught:
        Write.parse(arguments.pop("op"), arguments.pop("entry"), **arguments)
    assert caught.value.code == "ENGRAM_INVALID"


@pytest.mark.clause("P-14.7")
def test_write_at_the_limits_is_accepted() -> None:
    names = ["\U0001f9e0" * 512, "a b", "é"]
    entry = {"id": names[0], "tags": names * 21, "embedding": [1.0] * 16_000, "a": "\0"}
    write = Write.parse("append", entry, imprint_id="i" * 512, merge_key=names[0])
    assert (write.id, write.merge_key, write.tags) == (names[0], names[0], tuple(names))
    assert "embedding" not in write.entry
    largest = {"a": "x" * (983_040 - len('{"a":""}'))}
    assert len(Write.parse("append", largest, imprint_id="i").document) == 983_040
