"""Joins the parts of a streamed answer to the answer that the provider sends without streaming.

The parts are merged by three rules instead of by a list of known fields, so that no field is lost, whatever a
provider adds to its API. `add_to` merges a part; `assembled` returns the result as plain JSON values.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cosmo_llm.failures import UnexpectedShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_NAME_LENGTH: Final = 1_024
"""How many characters of the name of a tool are kept, when a provider sends it in pieces."""
MAX_OPEN_ITEMS: Final = 128
"""How many items at the end of a list can be continued by a later part, such as tool calls."""

_INDEX: Final = re.compile(r"[0-9]{1,9}")
_LABELS: Final = frozenset(
    {"id", "type", "role", "object", "format", "model", "status", "language", "provider"}
)
_LISTS: Final = frozenset({"content", "tool_calls"})
"""What is a list of objects; some providers send a single object without the list."""
_LABEL_ENDS: Final = ("_id", "_type", "_at", "_reason", "_tier", "_fingerprint")


class Rule(NamedTuple):
    """How a value of a later part is merged with that of the earlier parts.

    ``null`` and an empty string never replace a value, and objects are merged key by key, under every rule.

    Attributes:
        joins: Whether strings are pieces of one text, except for those that label something, such as an id.
            Otherwise the latest string counts.
        extends: Whether the items of lists follow each other. Otherwise a list that repeats the earlier one
            replaces it.
    """

    joins: bool
    extends: bool


HEAD: Final = Rule(joins=False, extends=False)
"""For what describes the whole answer, such as the model and the usage."""
PART: Final = Rule(joins=False, extends=True)
"""For what describes a part, such as its log probabilities."""
DELTA: Final = Rule(joins=True, extends=True)
"""For the content: texts, tool calls and whatever else a model generates."""


class _Text:
    """A text in pieces: adding a piece does not copy the text."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)


def add_to(whole: dict[str, Any], part: Mapping[str, Any], rule: Rule) -> None:
    """Merge a part into the whole.

    Raises:
        UnexpectedShapeError: The ``tool_calls`` of a part are not tool calls.
    """
    for name, value in part.items():
        whole[name] = _merged(name, whole.get(name), value, rule)


def assembled(value: Any, text: Callable[[str], str] = str) -> Any:
    """The merged parts as JSON values.

    Args:
        value: What `add_to` has made, or a part of it, or any JSON value.
        text: Applied to every string in it, and to the names of its objects.
    """
    if isinstance(value, _Text):
        return text(mended("".join(value.pieces)))
    if isinstance(value, str):
        return text(mended(value))
    if isinstance(value, dict):
        return {text(mended(name)): assembled(each, text) for name, each in value.items()}
    if isinstance(value, list):
        return [assembled(each, text) for each in value]
    return value


def mended(text: str) -> str:
    """Join the halves of surrogate pairs in a text, and replace a half that is alone by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _merged(name: str, old: Any, new: Any, rule: Rule) -> Any:
    if new is None:
        return old
    if isinstance(new, str):
        return _merged_text(name, old, new, rule)
    if isinstance(new, dict) and not (rule.joins and (name in _LISTS or isinstance(old, list))):
        whole = old if isinstance(old, dict) else {}
        add_to(whole, new, rule)
        return whole
    if isinstance(new, (list, dict)):
        return _merged_list(name, old, new if isinstance(new, list) else [new], rule)
    return new


def _merged_text(name: str, old: Any, new: str, rule: Rule) -> Any:
    if rule.joins and name == "name" and isinstance(old, str):
        # Some providers repeat it in every part, others cut it.
        return new if new.startswith(old) else (old + new)[:MAX_NAME_LENGTH]
    if not rule.joins or name == "name" or name in _LABELS or name.endswith(_LABEL_ENDS):
        return old if new == "" and old is not None else new
    if isinstance(old, list):  # content in parts, and then a part as plain text
        _extend(old, [{"type": "text", "text": new}] if new else [], rule)
        return old
    if not isinstance(old, _Text):
        return _Text(new)
    old.pieces.append(new)
    return old


def _merged_list(name: str, old: Any, new: list[Any], rule: Rule) -> list[Any]:
    whole: list[Any] = old if isinstance(old, list) else []
    if isinstance(old, _Text) and any(old.pieces):
        whole.append({"type": "text", "text": old})
    if not rule.extends:
        return new if new[: len(whole)] == whole else whole + new
    if name == "tool_calls" and rule.joins:
        _add_calls(whole, new)
    else:
        _extend(whole, new, rule)
    return whole


def _extend(whole: list[Any], items: list[Any], rule: Rule) -> None:
    for item in items:
        if not (rule.joins and isinstance(item, dict)):
            whole.append(item)
            continue
        target = next((each for each in reversed(whole[-MAX_OPEN_ITEMS:]) if _continues(each, item)), None)
        if target is None and whole and _is_same_kind_of_text(whole[-1], item):
            target = whole[-1]
        if target is None:
            whole.append(target := {})
        add_to(target, item, rule)


def _continues(item: Any, part: dict[str, Any]) -> bool:
    """Whether a part names the item that it continues by an index."""
    index = part.get("index")
    if type(index) is not int or not isinstance(item, dict) or item.get("index") != index:
        return False
    return item.get("type") == part.get("type") or None in (item.get("type"), part.get("type"))


def _is_same_kind_of_text(item: Any, part: dict[str, Any]) -> bool:
    """Whether both are of a type with text of that name, such as ``{"type": "text", "text": …}``."""
    kind = part.get("type")
    is_text = isinstance(kind, str) and isinstance(part.get(kind), (str, list)) and "index" not in part
    return is_text and isinstance(item, dict) and item.get("type") == kind and "index" not in item


# --- tool calls ---------------------------------------------------------------------------------------


def _add_calls(calls: list[Any], fragments: list[Any]) -> None:
    """Add the tool calls of one delta, each of which begins a call or continues one."""
    added: list[dict[str, Any]] = []
    for fragment in fragments:
        if fragment is None:
            continue
        if not isinstance(fragment, dict):
            raise UnexpectedShapeError("a tool call is not an object")
        if (index := _number_of(fragment.get("index"))) is not None:
            fragment = {**fragment, "index": index}
        call = _continued(calls[-MAX_OPEN_ITEMS:], fragment, added)
        if call is None:
            calls.append(call := {})
        added.append(call)
        add_to(call, fragment, DELTA)


def _continued(
    calls: list[dict[str, Any]], fragment: dict[str, Any], added: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The call that a fragment continues; ``None`` if it begins one.

    The index alone does not tell: some providers send 0 for all calls, or no index. A new id begins a call.
    """
    index, id = fragment.get("index"), fragment.get("id")
    call: dict[str, Any]
    for call in reversed(calls):
        if index is not None and call.get("index") not in (None, index):
            continue
        if id and call.get("id"):
            if call["id"] == id:
                return call
            continue
        return None if _begins_another(call, fragment, any(call is each for each in added)) else call
    return None


def _number_of(index: object) -> int | None:
    """An index as a number: a few providers send it as text."""
    return int(index) if isinstance(index, str) and _INDEX.fullmatch(index) else None


def _begins_another(call: dict[str, Any], fragment: dict[str, Any], was_added: bool) -> bool:
    """Whether a fragment without an id begins another call: it has a name, and the call is whole."""
    function, begun = fragment.get("function"), call.get("function")
    if not isinstance(function, dict) or not function.get("name"):
        return False
    if not isinstance(begun, dict) or not begun.get("name"):
        return False
    return was_added or _is_complete(begun.get("arguments"))


def _is_complete(arguments: Any) -> bool:
    if not isinstance(arguments, _Text):
        return isinstance(arguments, dict)
    if not arguments.pieces[-1].rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads("".join(arguments.pieces)), dict)
    except (ValueError, RecursionError):
        return False
