"""The base class: name, priority and repr."""

from __future__ import annotations

from typing import Any

import pytest

from cosmo_context import Context, FactNeuron, Neuron


class Placed(Neuron):
    """Returns its own name."""

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        return self.name


def test_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Neuron("x")  # type: ignore[abstract]


def test_name_and_priority_are_read_only() -> None:
    neuron = Placed("mine")
    assert (neuron.name, neuron.priority) == ("mine", 50)
    assert repr(neuron) == "Placed(name='mine', priority=50)"
    for attribute in ("name", "priority"):
        with pytest.raises(AttributeError):
            setattr(neuron, attribute, 1)


def test_builtin_neuron_can_have_another_name_and_priority() -> None:
    assert repr(FactNeuron("mine", priority=-1.5)) == "FactNeuron(name='mine', priority=-1.5)"
    with pytest.raises(TypeError, match="positional"):
        FactNeuron("mine", 7)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", [None, 7, b"x"])
def test_name_must_be_a_string(name: Any) -> None:
    with pytest.raises(TypeError, match="the name of a context Neuron must be a string"):
        Placed(name)


@pytest.mark.parametrize("priority", [None, "1", float("nan"), 1j, True])
def test_priority_must_be_a_number(priority: Any) -> None:
    with pytest.raises(TypeError, match="the priority of context Neuron 'mine' must be a number"):
        Placed("mine", priority=priority)
