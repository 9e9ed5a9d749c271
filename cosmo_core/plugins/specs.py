"""The hooks. Each docstring is the manual of its hook.

An implementation is a function marked with `cosmo_core.plugins.hookimpl` in a module (or on an object) that
an entry point of the group ``cosmo.hooks`` names, or that a program registers with
`PluginManager.register`. It may take fewer arguments than the specification, never others. Plugins are
asked in the order ``(COSMO_ORDER, plugin name)``: a plugin may define the integer ``COSMO_ORDER``, 0 when
absent, lower first.

Composition and decision hooks must be plain functions. pluggy's wrappers are refused everywhere: what a
composition hook returns is a value and not a call to wrap, a life-cycle hook may be asynchronous, which a
wrapper cannot span, and decisions are rare. ``tryfirst`` and ``trylast`` are refused too: order is
``COSMO_ORDER``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.dendrite import DendriteInfo
    from cosmo_core.plugins.shapes import (
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
"""The version of the plugin interface. A plugin's top-level package may declare the one it is written for."""

ASYNC_HOOKS: Final = frozenset({"cosmo_dendrite_started", "cosmo_dendrite_stopping"})
"""The life-cycle hooks: the only ones that may be ``async def``."""

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


# --- composition ------------------------------------------------------------------------------------


@hookspec
def cosmo_signal_middleware(dendrite: DendriteInfo, direction: Direction) -> Contributed[SignalMiddleware]:
    """Contribute links to the chain that every Signal of a Dendrite passes.

    Called twice per start of a Dendrite, once for each direction, before it connects anything. The result
    is compiled; the hook is never called per Signal.

    Args:
        dendrite: The Dendrite that is starting.
        direction: ``"inbound"`` or ``"outbound"``.

    Returns:
        None, one middleware, or an iterable of them. The first plugin's middleware is the outermost.

    If it raises, the start is aborted with that exception, to which a note names the plugin. So it is if
    it returns anything that cannot be called.
    """


@hookspec
def cosmo_signal_observers(dendrite: DendriteInfo) -> Contributed[SignalObserver]:
    """Contribute functions that watch the Signals of a Dendrite.

    Called once per start of a Dendrite. Observers are told of every Signal sent, received or dropped, and
    of every malformed frame; they cannot change or stop one.

    Args:
        dendrite: The Dendrite that is starting.

    Returns:
        None, one observer, or an iterable of them. An observer is a plain function: a coroutine function
        would never be awaited and is refused.

    If the hook raises, the start is aborted with that exception, to which a note names the plugin. If an
    observer raises, that is logged and nobody else notices.
    """


@hookspec
def cosmo_neuron_wrappers(axon: Axon) -> Contributed[NeuronWrapper]:
    """Contribute functions that wrap a Neuron: retry, cache, trace, guard.

    Called once per Axon, when it is attached to a Dendrite. A wrapper is called once, with the Neuron, and
    what it returns is run for every TASK.

    Args:
        axon: The Axon that is being attached.

    Returns:
        None, one wrapper, or an iterable of them. The first plugin's wrapper is the outermost.

    If it raises, the attaching is aborted with that exception, to which a note names the plugin. So it is
    if it returns anything that cannot be called, or a coroutine function.
    """


# --- life cycle -------------------------------------------------------------------------------------


@hookspec
def cosmo_dendrite_started(dendrite: DendriteInfo) -> Awaitable[None] | None:
    """Open what the plugin needs beside a Dendrite: a file, an exporter, a task.

    Called once per start of a Dendrite, one plugin after the other, when the Dendrite is ready to serve. It
    may be ``def`` or ``async def``; it runs in the Dendrite's event loop and the start waits for it.

    Args:
        dendrite: The Dendrite that has started.

    If it raises or is cancelled, the start is aborted: ``cosmo_dendrite_stopping`` runs, in reverse order,
    for every plugin whose ``cosmo_dendrite_started`` completed or that has none, not for the one that
    failed; then the exception is raised, with a note that names the plugin.
    """


@hookspec
def cosmo_dendrite_stopping(dendrite: DendriteInfo) -> Awaitable[None] | None:
    """Flush and close what the plugin opened.

    Called once per stop of a Dendrite, in reverse order, while the Dendrite can still send. It may be
    ``def`` or ``async def``; the stop waits for it.

    Args:
        dendrite: The Dendrite that is stopping.

    If it raises, the other plugins are still called and the Dendrite still stops; then all such errors are
    raised as one `ExceptionGroup`, each with a note that names its plugin.
    """


# --- decisions --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def cosmo_error_info(error: Exception, task: Signal) -> ErrorInfo | None:
    """Tell what an exception of a Neuron means: an ERROR code, a message, and whether to try again.

    Called when a Neuron raised anything but a `NeuronError`, once per plugin until one answers.

    Args:
        error: What the Neuron raised.
        task: The TASK it was working on.

    Returns:
        The answer, or None to leave it to the next plugin and in the end to the core.

    If it raises, or returns anything else, that is logged and the next plugin is asked.
    """
