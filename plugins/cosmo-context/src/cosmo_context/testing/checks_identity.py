"""A context Neuron can be named, placed and found."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING

from cosmo_context.errors import RegistryError
from cosmo_context.neuron import Neuron, Stability
from cosmo_context.registry import Registry
from cosmo_context.testing.asking import fragment_of_example
from cosmo_context.testing.requirements import REQUIREMENTS
from cosmo_core import PluginError
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need

if TYPE_CHECKING:
    from cosmo_context.testing.subject import ContextNeuronUnderTest


@REQUIREMENTS.proves("context:shape")
async def check_shape(subject: ContextNeuronUnderTest) -> None:
    """Look at what it is, and at its two methods."""
    neuron: object = subject.neuron()
    need(isinstance(neuron, Neuron), f"{neuron!r} is no cosmo_context.Neuron")
    for name in ("format", "shorten"):
        need(inspect.iscoroutinefunction(getattr(neuron, name)), f"{name} is no coroutine function")


@REQUIREMENTS.proves("context:name")
async def check_name(subject: ContextNeuronUnderTest) -> None:
    """Compare the names of an instance before and after it was asked, and that of another instance."""
    neuron = subject.neuron()
    name: object = neuron.name
    need(isinstance(name, str) and name != "", f"the name is {name!r}")
    for example in subject.examples():
        await fragment_of_example(neuron, example)
    need(neuron.name == name, f"the name was {name!r}, and is {neuron.name!r} once it was asked")
    other = subject.neuron().name
    need(other == name, f"one instance has the name {name!r}, another has {other!r}")


@REQUIREMENTS.proves("context:placement")
async def check_placement(subject: ContextNeuronUnderTest) -> None:
    """Look at what decides where its fragment goes."""
    neuron = subject.neuron()
    for what in ("priority", "importance"):
        value = getattr(neuron, what)
        need(_is_number(value), f"the {what} is {value!r}, not a number")
    stability: object = neuron.stability
    need(isinstance(stability, Stability), f"the stability is {stability!r}, not a Stability")


@REQUIREMENTS.proves("context:read-only")
async def check_read_only(subject: ContextNeuronUnderTest) -> None:
    """Try to set both."""
    neuron = subject.neuron()
    for what in ("name", "priority"):
        try:
            setattr(neuron, what, getattr(neuron, what))
        except AttributeError:
            continue
        raise UnmetError(f"the {what} can be set: one instance serves every builder of a program")


@REQUIREMENTS.proves("context:entry-point")
async def check_entry_point(subject: ContextNeuronUnderTest) -> None:
    """Look for its name among what is installed."""
    neuron = subject.neuron()
    try:
        found = Registry().get(neuron.name)
    except (RegistryError, PluginError) as error:
        raise UnmetError(str(error)) from error
    need(type(found) is type(neuron), f"{neuron.name!r} finds {found!r}, not a {type(neuron).__name__}")
    need(found.name == neuron.name, f"{neuron.name!r} finds a Neuron of the name {found.name!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)
