"""The hooks. Each docstring is the manual of its hook.

An implementation is a function marked with `cosmo_core.plugins.hookimpl`. It is in a module (or on an
object) that an entry point of the group ``cosmo.hooks`` names, or that a program registers with
`PluginManager.register`. It may take fewer arguments than the specification, but no others. Plugins are
called in the order ``(COSMO_ORDER, plugin name)``: a plugin may define the integer ``COSMO_ORDER``, by
default 0; lower ones come first.

Composition and decision hooks must be plain functions. Wrappers of pluggy are not allowed: a composition hook
returns a value instead of making a call, and a wrapper cannot span the await of a life-cycle hook.
``tryfirst`` and ``trylast`` are not allowed either, because ``COSMO_ORDER`` is the order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Final, TypeAlias, TypeVar

from pluggy import HookimplMarker, HookspecMarker

from cosmo_core.contracts.axon import Axon
from cosmo_core.plugins.shapes import (
    DendriteInfo,
    Direction,
    ErrorInfo,
    NeuronWrapper,
    SignalMiddleware,
    SignalObserver,
)
from cosmo_core.protocol.signal import Signal

T = TypeVar("T")
Contributed: TypeAlias = "T | Iterable[T] | None"

PROJECT: Final = "cosmo"
COSMO_API: Final = 1
"""The version of the plugin interface. A plugin's top-level package may declare the version it needs."""

ASYNC_HOOKS: Final = frozenset({"cosmo_dendrite_started", "cosmo_dendrite_stopping"})
"""The life-cycle hooks: the only ones that may be ``async def``."""

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


# --- composition ------------------------------------------------------------------------------------


@hookspec
def cosmo_signal_middleware(dendrite: DendriteInfo, direction: Direction) -> Contributed[SignalMiddleware]:
    """Contribute links to the chain that every Signal of a Dendrite passes.

    Called twice per start of a Dendrite, once for each direction, before it connects. The result is
    compiled; the hook is not called per Signal.

    Args:
        dendrite: The Dendrite that is starting.
        direction: ``"inbound"`` or ``"outbound"``.

    Returns:
        None, one middleware, or an iterable of them. The first plugin's middleware is the outermost.

    If the hook raises, or returns a value that is not callable, the start is aborted with the exception;
    a note on it names the plugin.
    """


@hookspec
def cosmo_signal_observers(dendrite: DendriteInfo) -> Contributed[SignalObserver]:
    """Contribute functions that observe the Signals of a Dendrite.

    Called once per start of a Dendrite. Observers are called for every Signal sent, received or dropped,
    and for every malformed frame; they cannot change or stop a Signal.

    Args:
        dendrite: The Dendrite that is starting.

    Returns:
        None, one observer, or an iterable of them. An observer is a plain function; a coroutine function
        is refused, because it would not be awaited.

    If the hook raises, the start is aborted with the exception; a note on it names the plugin. If an
    observer raises, the exception is logged and has no other effect.
    """


@hookspec
def cosmo_neuron_wrappers(axon: Axon) -> Contributed[NeuronWrapper]:
    """Contribute functions that wrap a Neuron: retry, cache, trace, guard.

    Called once per Axon, when it is attached to a Dendrite. A wrapper is called once, with the Neuron; the
    function that it returns is run for every TASK.

    Args:
        axon: The Axon that is being attached.

    Returns:
        None, one wrapper, or an iterable of them. The first plugin's wrapper is the outermost.

    If the hook raises, or returns a value that is not callable or is a coroutine function, the attaching is
    aborted with the exception; a note on it names the plugin.
    """


# --- life cycle -------------------------------------------------------------------------------------


@hookspec
def cosmo_dendrite_started(dendrite: DendriteInfo) -> Awaitable[None] | None:
    """Open the resources of the plugin: a file, an exporter, a task.

    Called once per start of a Dendrite, one plugin after the other, when the Dendrite is ready to serve. It
    may be ``def`` or ``async def``; it runs in the event loop of the Dendrite, and the start waits for it.

    Args:
        dendrite: The Dendrite that has started.

    If the hook raises or is cancelled, the start is aborted: ``cosmo_dendrite_stopping`` runs in reverse
    order for every plugin whose ``cosmo_dendrite_started`` completed or that has none, but not for the one
    that failed. Then the exception is raised, with a note that names the plugin.
    """


@hookspec
def cosmo_dendrite_stopping(dendrite: DendriteInfo) -> Awaitable[None] | None:
    """Flush and close the resources of the plugin.

    Called once per stop of a Dendrite, in reverse order, while the Dendrite can still send. It may be
    ``def`` or ``async def``; the stop waits for it.

    Args:
        dendrite: The Dendrite that is stopping.

    If the hook raises, the other plugins are still called and the Dendrite still stops. Then all exceptions
    are raised as one `ExceptionGroup`, each with a note that names its plugin.
    """


# --- decisions --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def cosmo_error_info(error: BaseException, task: Signal) -> ErrorInfo | None:
    """Translate an exception of a Neuron to the code, message and ``recoverable`` of an ERROR.

    Called when a Neuron raised an exception other than `NeuronError`, once per plugin until one returns an
    `ErrorInfo`.

    Args:
        error: The exception.
        task: The TASK of the Neuron.

    Returns:
        The translation, or None to leave it to the next plugin and finally to the core.

    If the hook raises, or returns anything else, that is logged and the next plugin is called.
    """
