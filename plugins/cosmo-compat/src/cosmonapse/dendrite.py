"""The Dendrite of a program for cosmonapse."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakSet

import cosmo_core
from cosmo_core import MalformedSignalError, NeuronRecord, RoleError, Signal, SignalType, Synapse
from cosmo_core.contracts.options import OH, FilterOptions, OfferHandler, ResponseOptions, TaskOptions
from cosmo_core.contracts.pathway import H, SignalHandler
from cosmonapse.pathway import Pathway, Scope
from cosmonapse.storage import MemoryRegistryStore

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_HEARTBEAT_S: Final = 30.0
"""Seconds between announcements, also for ``heartbeat_s=0``: without any, Neurons would count as gone."""

DISCOVERY_S: Final = 1.0
"""Seconds that an unknown Neuron is searched for: programs for cosmonapse do not wait until it is there."""

logger = logging.getLogger("cosmonapse")


class DendriteProtocolError(RoleError, ValueError):
    """The role of the Dendrite forbids the Signal, or the Signal has the wrong type; nothing was sent."""


def _checked(call: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let a method raise DendriteProtocolError where its counterpart in cosmonapse does."""

    @wraps(call)
    async def checked(*args: P.args, **options: P.kwargs) -> R:
        try:
            return await call(*args, **options)
        except RoleError as error:
            raise DendriteProtocolError(str(error)) from error
        except MalformedSignalError as error:
            if error.field != "type":
                raise
            raise DendriteProtocolError(str(error)) from error

    return checked


class Dendrite(cosmo_core.Dendrite):
    """Hosts Axons and Engrams, and dispatches TASKs.

    Args:
        synapse: A connected Synapse.
        registry_store: A store that shows the Neurons which this Dendrite knows.
        namespace: A token. Dendrites of different namespaces never see each other.
        dendrite_id: A name for this Dendrite; it is not sent.
        heartbeat_s: Seconds between announcements; 0 means the default.
        auto_bid: Whether Neurons hosted here bid for offers by themselves.
        discovery_s: Seconds that an unknown Neuron is searched for before `NoRouteError`.
        **options: As for `cosmo_core.Dendrite`.

    Raises:
        TypeError: An option is unknown, or has a wrong type.
        ValueError: A number is out of range, or the role is unknown.
    """

    def __init__(
        self,
        *,
        synapse: Synapse,
        registry_store: MemoryRegistryStore | None = None,
        namespace: str = "default",
        dendrite_id: str = "dendrite",
        heartbeat_s: float = DEFAULT_HEARTBEAT_S,
        auto_bid: bool = True,
        discovery_s: float = DISCOVERY_S,
        **options: Any,
    ) -> None:
        super().__init__(
            synapse=synapse,
            namespace=namespace,
            heartbeat_s=heartbeat_s or DEFAULT_HEARTBEAT_S,
            discovery_s=discovery_s,
            **options,
        )
        self.dendrite_id = dendrite_id
        self._auto_bid = auto_bid
        self.registry_store = registry_store
        self._followed: WeakSet[Pathway] = WeakSet()
        self._offer_handlers: list[tuple[OfferHandler, str | None, str | None]] = []
        if registry_store is not None:
            if not isinstance(registry_store, MemoryRegistryStore):
                raise TypeError(f"registry_store is a MemoryRegistryStore, not {registry_store!r}")
            registry_store.add_source(super().find_neurons)
        if not auto_bid:
            super().on_task_offer(self._decide)

    async def find_neurons(  # type: ignore[override]
        self, capability: str | None = None
    ) -> list[NeuronRecord]:
        """Return the live Neurons of the namespace, or those that have a capability."""
        return super().find_neurons(capability)

    # --- dispatching --------------------------------------------------------------------------------

    @_checked
    async def dispatch(self, **task: Unpack[TaskOptions]) -> Pathway:  # type: ignore[override]
        """Send a TASK and return the Pathway that follows it. Raises as `cosmo_core.Dendrite.dispatch` does.

        Raises:
            DendriteProtocolError: This Dendrite is a worker.
        """
        return self._follow(await super().dispatch(**task), task.get("scope", "all"))

    async def dispatch_and_subscribe(  # type: ignore[override]
        self, handlers: Mapping[SignalType, SignalHandler] | None = None, **task: Unpack[TaskOptions]
    ) -> Pathway:
        """Send a TASK and return its Pathway, with handlers attached. Raises as `dispatch` does."""
        pathway = await self.dispatch(**task)
        for type, handler in (handlers or {}).items():
            pathway.on(type)(handler)
        return pathway

    @_checked
    async def dispatch_offer(self, **offer: Any) -> Pathway:  # type: ignore[override]
        """Offer work and award it to one bidder. See `cosmo_core.Dendrite.dispatch_offer`."""
        return self._follow(await super().dispatch_offer(**offer), offer.get("scope", "all"))

    async def observe_pathway(self, trace_id: str) -> Pathway:  # type: ignore[override]
        """Return a Pathway that receives every Signal on a trace from now on, until FINAL or ERROR."""
        return Pathway(await super().observe_pathway(trace_id), role="observer")

    @_checked
    async def respond_to_clarification(  # type: ignore[override]
        self, signal: Signal, answer: Any, **task: Unpack[ResponseOptions]
    ) -> Pathway:
        """Answer a Neuron's question and dispatch its TASK again, on the same trace.

        The Neuron finds the answer in its input, as ``clarification`` and in the list ``clarifications``. If
        this Dendrite dispatched the TASK that asks, its Pathway receives the answer to the new one, too.

        Returns:
            The Pathway of the new TASK.
        """
        pathway = await super().respond_to_clarification(signal, answer, **task)
        return self._continue(signal, pathway, task.get("scope", "all"))

    @_checked
    async def respond_to_permission(  # type: ignore[override]
        self, signal: Signal, granted: bool, reason: str | None = None, **task: Unpack[ResponseOptions]
    ) -> Pathway:
        """Decide on a Neuron's request for permission, and dispatch its TASK again, on the same trace.

        It works as `respond_to_clarification` does, with ``permission`` and the list ``permissions``.
        """
        pathway = await super().respond_to_permission(signal, granted, reason, **task)
        return self._continue(signal, pathway, task.get("scope", "all"))

    def _follow(self, pathway: cosmo_core.Pathway, scope: Scope) -> Pathway:
        followed = Pathway(pathway, scope=scope)
        self._followed.add(followed)
        return followed

    def _continue(self, question: Signal, pathway: cosmo_core.Pathway, scope: Scope) -> Pathway:
        asked = [each for each in self._followed if each.follows(question.parent_id)]
        again = self._follow(pathway, scope)
        for each in asked:
            each.continue_with(again)
        return again

    dispatch_task = _checked(cosmo_core.Dendrite.dispatch_task)
    dispatch_and_wait = _checked(cosmo_core.Dendrite.dispatch_and_wait)
    stop_trace = _checked(cosmo_core.Dendrite.stop_trace)
    emit = _checked(cosmo_core.Dendrite.emit)
    answer_clarification = _checked(cosmo_core.Dendrite.answer_clarification)
    grant_permission = _checked(cosmo_core.Dendrite.grant_permission)
    deny_permission = _checked(cosmo_core.Dendrite.deny_permission)

    # --- handlers -----------------------------------------------------------------------------------

    @overload
    def on_signal(self, signal_type: SignalType, handler: H, **filter: Unpack[FilterOptions]) -> H: ...

    @overload
    def on_signal(
        self, signal_type: SignalType, handler: None = None, **filter: Unpack[FilterOptions]
    ) -> Callable[[H], H]: ...

    def on_signal(self, signal_type: SignalType, handler: Any = None, **filter: Unpack[FilterOptions]) -> Any:
        """Call ``handler``, or the decorated function, with every Signal of a type. See `on`."""
        register: Callable[[Any], Any] = self.on(signal_type, **filter)
        return register if handler is None else register(handler)

    @overload
    def on_task_offer(
        self, handler: OH, *, capability: str | None = None, trace_id: str | None = None
    ) -> OH: ...

    @overload
    def on_task_offer(
        self, handler: None = None, *, capability: str | None = None, trace_id: str | None = None
    ) -> Callable[[OH], OH]: ...

    def on_task_offer(
        self, handler: Any = None, *, capability: str | None = None, trace_id: str | None = None
    ) -> Any:
        """Let ``handler``, or the decorated function, decide on offers, in place of automatic bids.

        Args:
            handler: The function, plain or async. There may be several.
            capability: Only offers that ask for this capability.
            trace_id: Only offers on this trace.
        """

        def register(handler: OH) -> OH:
            if not self._offer_handlers and self._auto_bid:
                cosmo_core.Dendrite.on_task_offer(self, self._decide)
            self._offer_handlers.append((handler, capability, trace_id))
            return handler

        return register if handler is None else register(handler)

    async def _decide(self, offer: Signal) -> None:
        """Pass an offer to the handlers whose filters match."""
        for handler, capability, trace_id in self._offer_handlers:
            asked_for = capability in {None, *(offer.payload.get("capabilities") or ())}
            if asked_for and trace_id in {None, offer.trace_id}:
                try:
                    result = handler(offer)
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    logger.exception("the handler %r of offers failed on %s", handler, offer.id)


Cortex = Dendrite
