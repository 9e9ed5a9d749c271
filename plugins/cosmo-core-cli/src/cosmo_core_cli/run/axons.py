"""From what somebody names to the Axons that it means."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from cosmo_core import Axon, CosmoError
from cosmo_core.contracts.engram import Engram
from cosmo_core_cli.failing import Mistake


def axons_of(found: Any, name: str, *, call: bool = True) -> Iterator[Axon]:
    """Yield the Axons that an object means: itself, those in a list, or those that a function returns.

    A Neuron becomes an Axon under its name. A function that takes no input and context is no Neuron: it is
    called, once, and makes the Axons.

    Args:
        found: The object.
        name: What it is called.
        call: Whether a function may be called for it.

    Raises:
        Mistake: It means none.
    """
    if isinstance(found, Axon):
        yield found
    elif isinstance(found, list | tuple):
        for place, item in enumerate(found):
            yield from axons_of(item, getattr(item, "__name__", f"{name}-{place}"), call=call)
    elif callable(found) and not inspect.isclass(found) and _takes(found, {}, []):
        yield _axon(found, name)
    elif call and inspect.isroutine(found) and not inspect.iscoroutinefunction(found) and _takes(found):
        yield from axons_of(_called(found, name), name, call=False)
    else:
        raise Mistake(
            f"{name!r} is {_described(found)}: name an Axon, a list of Axons, a Neuron, which takes "
            "(input, context), or a plain function that takes nothing and returns some of these"
        )


def engram_of(found: Any, name: str) -> Engram:
    """Return the Engram that an object is, or that it returns when it is called.

    Raises:
        Mistake: It is none.
    """
    made = _called(found, name) if callable(found) and not isinstance(found, Engram) else found
    if not isinstance(made, Engram):
        raise Mistake(f"{name!r} is {_described(made)}: name an Engram, or a function that returns one")
    return made


def check_distinct(axons: Iterable[Axon]) -> None:
    """Refuse two Axons of one id.

    Raises:
        Mistake: There are two.
    """
    seen = set()
    for axon in axons:
        if axon.neuron_id in seen:
            raise Mistake(
                f"two Axons are called {axon.neuron_id!r}: one process hosts one; start another for replicas"
            )
        seen.add(axon.neuron_id)


def _axon(neuron: Any, name: str) -> Axon:
    try:
        return Axon(neuron_id=name.rpartition(".")[2], neuron_fn=neuron)
    except (CosmoError, TypeError, ValueError) as error:
        raise Mistake(f"{name!r} cannot be hosted by itself: {error}; make an Axon of it") from error


def _called(function: Any, name: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise Mistake(f"{name!r} failed when it was called: {type(error).__name__}: {error}") from error


def _takes(function: Any, *arguments: Any) -> bool:
    """Tell whether a function can be called with these, and whatever it declares by keyword."""
    try:
        inspect.signature(function).bind_partial(*arguments)
    except TypeError:
        return False
    except ValueError:
        # Built in, and not telling.
        return True
    return True


def _described(found: Any) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
