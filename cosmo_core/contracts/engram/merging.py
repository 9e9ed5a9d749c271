"""What becomes of two entries that are merged: every Engram does it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with ``new`` merged into it; neither is changed.

    Objects are merged key by key. Lists are joined, without what is there already. Of everything else, the
    new counts.
    """
    result = dict(old)
    for key, value in new.items():
        result[key] = _merged_value(result[key], value) if key in result else value
    return result


def _merged_value(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged(old, new)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        # As JSON: 1, 1.0 and true are three values there.
        seen = {msgspec.json.encode(item, order="sorted") for item in old}
        joined = list(old)
        for item in new:
            known = msgspec.json.encode(item, order="sorted")
            if known not in seen:
                seen.add(known)
                joined.append(item)
        return joined
    return new
