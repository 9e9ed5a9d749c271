"""The values that programs make and get: immutable, compared by their content, and shown without secrets."""

from __future__ import annotations

import importlib
import inspect
from pkgutil import walk_packages
from typing import Any

import msgspec
import pytest

import cosmo_core
from cosmo_core import AskBack, CurrentTask, DeadLetter, RetryStrategy, SignalType
from cosmo_core.contracts.options import Bid

VALUES = [
    (AskBack, {"type": SignalType.CLARIFICATION, "payload": {"question": "which?"}}),
    (Bid, {"id": "evt", "neuron": "n", "dendrite": "d", "cost": 1.0, "eta_ms": None, "confidence": None}),
    (CurrentTask, {"id": "evt", "trace_id": "trc", "neuron": "n", "deadline": None}),
    (DeadLetter, {"subject": "s", "frame": b"", "deliveries": 2, "reason": "lost"}),
    (RetryStrategy, {"max_attempts": 2, "timeout_s": 1.0}),
]


@pytest.mark.parametrize(("kind", "content"), VALUES)
def test_value_is_immutable_and_compared_by_its_content(kind: Any, content: dict[str, Any]) -> None:
    value = kind(**content)
    assert value == kind(**content)
    name, other = next(iter(content)), object()
    assert value != kind(**{**content, list(content)[-1]: 5})
    with pytest.raises(AttributeError):
        setattr(value, name, other)
    with pytest.raises(AttributeError):
        delattr(value, name)


@pytest.mark.parametrize("kind", [DeadLetter, RetryStrategy])
def test_value_of_many_numbers_takes_keywords_only(kind: Any) -> None:
    with pytest.raises(TypeError):
        kind(3)


def test_repr_names_the_fields() -> None:
    assert repr(CurrentTask("evt", "trc", "n")) == (
        "CurrentTask(id='evt', trace_id='trc', neuron='n', deadline=None)"
    )


def test_repr_of_a_question_does_not_show_it() -> None:
    asked = AskBack(SignalType.PERMISSION, {"action": "hunter2"})
    assert "hunter2" not in repr(asked) + str(asked.__rich_repr__())


def test_every_struct_has_a_signature() -> None:
    # `help` and the documentation show it; msgspec evaluates the annotations for it.
    modules = [importlib.import_module(m.name) for m in walk_packages(cosmo_core.__path__, "cosmo_core.")]
    structs = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct
    }
    assert len(structs) > 40
    for struct in structs:
        assert inspect.signature(struct).parameters.keys() >= set(struct.__struct_fields__)
