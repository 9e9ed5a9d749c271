"""The seam through which every optional feature is attached to a Dendrite, ours and a stranger's.

An extension is a class that the entry-point group ``cosmo.extensions`` names, or that a program passes as
``Dendrite(extensions=[…])``. A Dendrite makes one instance of it, and gives it `Ports`: all that an extension
may use of its Dendrite. A program reaches what the extension adds with ``dendrite.extension("name")``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec

from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.boundary import logged_failures
from cosmo_core.contracts.delivery import Subscription, Undelivered
from cosmo_core.contracts.options import TaskOptions
from cosmo_core.contracts.pathway import Pathway, PathwayOwner
from cosmo_core.dendrite.discovery.announcer import EntityHost, HostedEntity
from cosmo_core.dendrite.discovery.directory import Directory
from cosmo_core.dendrite.discovery.resolver import Resolver
from cosmo_core.dendrite.dispatch.pathway_registry import PathwayRegistry, Receive, Refuse
from cosmo_core.dendrite.life_cycle import Clock, LifeCycle
from cosmo_core.dendrite.transport.link import Receiver
from cosmo_core.errors import PluginConflictError
from cosmo_core.protocol.ids import is_token
from cosmo_core.protocol.signal import Signal
from cosmo_core.protocol.signal_type import SignalType
from cosmo_core.protocol.subjects import Subjects

if TYPE_CHECKING:
    from cosmo_core.plugins import Dropped, NeuronWrapper
else:
    # The plugin system is imported late; the signature of a Struct needs a value for each annotation.
    Dropped = Any


__all__ = ["EntityHost", "Extension", "ExtensionFactory", "HostedEntity", "Ports"]


# --- what an extension may use ----------------------------------------------------------------------


class Listen(Protocol):
    """Subscribes to a pattern of subjects."""

    def __call__(
        self,
        pattern: str,
        receive: Receiver,
        *,
        queue_group: str | None = None,
        refuse: Refuse | None = None,
    ) -> Awaitable[Subscription]:
        """Call ``receive`` with every Signal that arrives, and ``refuse`` with those a middleware drops."""


class Pathways(PathwayOwner, Protocol):
    """The open Pathways, background tasks and time limits of a Dendrite."""

    def add(self, pathway: Pathway) -> None:
        """Deliver to ``pathway`` from now on."""

    def change_task(self, pathway: Pathway, task_id: str) -> None:
        """Let ``pathway`` follow another TASK of its trace."""


class Neurons(Protocol):
    """The Neurons that a Dendrite hosts."""

    def __iter__(self) -> Iterator[Axon]:
        """Iterate over the attached Axons."""

    def can_accept(self, neuron_id: str) -> bool:
        """Tell whether a hosted Neuron would accept one more TASK."""

    def load(self, neuron_id: str) -> int:
        """Return the number of TASKs that run or wait on a Neuron."""

    def run(self, neuron_id: str, task: Signal) -> None:
        """Run a TASK that the extension received; its reply goes to the sender of the TASK."""

    async def listen_for_stops(self) -> None:
        """Subscribe to STOPs of whole traces, also where no Neuron is hosted."""


class Ports(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that an extension may use of its Dendrite.

    Attributes:
        dendrite_id: The id of the Dendrite, and the name of its inbox.
        buffer: The number of Signals that a Pathway buffers.
        clock: The clock of the Dendrite.
        life_cycle: Whether the Dendrite was started, runs, or is stopping.
        subjects: The subjects of its namespace.
        send: Publishes a Signal on a subject; awaits to the reason if a middleware dropped it.
        send_shared: Publishes a Signal that one of the hosts of an id receives. If the Synapse cannot
            deliver it, the extension's ``undeliverable`` is called.
        send_or_raise: Publishes a Signal on a subject; raises RejectedError if a middleware dropped it.
        listen: Subscribes.
        listen_all: Calls functions that each subscribe; if one fails, those before it are undone.
        unsubscribe: Ends subscriptions, all at once. Those that are left end when the Dendrite stops.
        check_role: Raises RoleError if the Dendrite's role forbids a type.
        is_observed: Tells whether a middleware or an observer sees outbound Signals.
        emit: Sends a Signal to the Neuron it is directed to, or to all.
        dispatch: Sends a TASK and returns the Pathway that follows it.
        check_dispatching: Raises LifecycleError unless the Dendrite can send.
        resolve: Returns the id of a live Neuron by its id, or by capabilities; raises NoRouteError.
        is_hosted: Tells whether a Dendrite hosts a Neuron and does not drain it. A worker knows only its own
            Neurons until it looks for others, as ``resolve`` does.
        open_directory: Makes a directory for the announcements of a role, and its resolver. Call it while the
            extension is made.
        register: Announces an entity that was added while the Dendrite runs.
        withdraw: Announces that an entity accepts no more work.
        deregister: Announces that an entity is gone, with a reason.
        neurons: The hosted Neurons.
        reply_subject: Returns the subject of a reply to a Signal.
        reject: Answers a TASK with ERROR ``REJECTED``, with a reason.
        was_stopped: Tells whether the cause of a Signal was stopped with its trace.
        pathways: The open Pathways, background tasks and time limits.
    """

    dendrite_id: str
    buffer: int
    clock: Clock
    life_cycle: LifeCycle
    subjects: Subjects
    send: Callable[[str, Signal], Awaitable[Dropped | None]]
    send_shared: Callable[[str, Signal], Awaitable[Dropped | None]]
    send_or_raise: Callable[[str, Signal], Awaitable[None]]
    listen: Listen
    listen_all: Callable[..., Awaitable[list[Subscription]]]
    unsubscribe: Callable[..., Coroutine[Any, Any, None]]
    check_role: Callable[[SignalType], None]
    is_observed: Callable[[], bool]
    emit: Callable[[Signal], Awaitable[None]]
    dispatch: Callable[[TaskOptions], Awaitable[Pathway]]
    check_dispatching: Callable[[], None]
    resolve: Callable[[str | None, Sequence[str]], Awaitable[str]]
    is_hosted: Callable[[str, str], bool]
    open_directory: Callable[[Literal["neuron", "engram"]], tuple[Directory, Resolver]]
    register: Callable[[HostedEntity], Awaitable[None]]
    withdraw: Callable[[HostedEntity], Awaitable[None]]
    deregister: Callable[[HostedEntity, str | None], Awaitable[None]]
    neurons: Neurons
    reply_subject: Callable[[Signal, SignalType], str]
    reject: Callable[[Signal, str], Awaitable[None]]
    was_stopped: Callable[[Signal], bool]
    pathways: Pathways


# --- an extension -----------------------------------------------------------------------------------


class Extension:
    """An optional feature of a Dendrite. Subclass it, and override what the feature needs.

    Args:
        ports: All that it may use of its Dendrite.

    Attributes:
        name: Its name, unique within a Dendrite.
        ports: The same.
    """

    name: ClassVar[str]

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    # What it handles. Each of these is called once, when the Dendrite is made.

    def receivers(self) -> Mapping[SignalType, Receive]:
        """Return the function that receives each Signal of a type which arrives in the inbox."""
        return {}

    def refusals(self) -> Mapping[SignalType, Refuse]:
        """Return the function that handles each received Signal of a type which a middleware dropped."""
        return {}

    def undeliverables(self) -> Mapping[SignalType, Callable[[Signal, Undelivered], None]]:
        """Return the function that handles each sent Signal of a type which could not be delivered."""
        return {}

    def entity_hosts(self) -> Sequence[EntityHost]:
        """Return the hosts of the entities that the Dendrite announces for this extension."""
        return ()

    # What it does when something happens.

    def neuron_wrappers(self, axon: Axon) -> Sequence[NeuronWrapper]:
        """Return wrappers for the Neuron of an Axon that is being attached, inside those of the hooks."""
        return ()

    def neuron_departed(self, neuron_id: str, dendrite_id: str) -> None:
        """Handle that a Neuron deregistered from a Dendrite, or that its heartbeats stopped.

        A worker hears of the Neurons of others once it has looked for one, as ``ports.resolve`` does.
        """

    async def trace_stopped(self, stop: Signal) -> Mapping[str, Any]:
        """Handle the STOP of a whole trace; return its part of the STOPPED payload."""
        return {}

    async def neuron_asks(self, question: Signal) -> None:
        """Handle that a hosted Neuron asks back. The question is sent when every extension has returned."""

    def counters(self) -> Mapping[str, int]:
        """Return its part of `Dendrite.counters`."""
        return {}

    # Its life, in this order. If the start fails, `drain`, `stop` and `close` follow what was reached.

    async def connect(self) -> None:
        """The inbox is subscribed to. Nothing is hosted or announced yet."""

    async def start(self) -> None:
        """The Neurons are about to be served."""

    async def neurons_changed(self) -> None:
        """The Neurons are served; called again when one was added or detached while the Dendrite runs."""

    async def drain(self) -> None:
        """The Dendrite is stopping: accept no new work. Running Neurons still finish after this."""

    async def stop(self) -> None:
        """The Neurons have ended. Finish what is being worked on; the Dendrite can still send."""

    def close(self) -> None:
        """The Dendrite has deregistered. End everything that still waits."""


ExtensionFactory = Callable[[Ports], Extension]
"""Makes an extension for one Dendrite; an `Extension` subclass is one."""


class ExtensionSet:
    """The extensions of one Dendrite. It is made first, and filled once the ports exist."""

    def __init__(self) -> None:
        self._extensions: dict[str, Extension] = {}
        self._undeliverables: dict[SignalType, Callable[[Signal, Undelivered], None]] = {}
        self._hosts: list[EntityHost] = []

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._extensions.values())

    def fill(self, factories: Iterable[ExtensionFactory], ports: Ports, pathways: PathwayRegistry) -> None:
        """Make the extensions and connect their receivers.

        Raises:
            TypeError: A factory made an object that is not an Extension with a name and these ports.
            PluginConflictError: Two extensions have one name.
            ValueError: Two extensions handle one Signal type, or an extension one that it cannot handle.
        """
        for factory in factories:
            extension = _checked(factory, factory(ports), ports)
            if extension.name in self._extensions:
                raise PluginConflictError(f"two extensions are named {extension.name!r}: leave one out")
            self._extensions[extension.name] = extension
            receivers, refusals = extension.receivers(), extension.refusals()
            if unreceived := refusals.keys() - receivers.keys():
                raise ValueError(
                    f"extension {extension.name!r} refuses {sorted(unreceived)} without a receiver"
                )
            for type, receive in receivers.items():
                pathways.add_receiver(type, receive, refusals.get(type))
            for type, handle in extension.undeliverables().items():
                if type is SignalType.TASK or self._undeliverables.setdefault(type, handle) is not handle:
                    raise ValueError(f"undeliverable {type.value} Signals have a handler already")
            self._hosts.extend(extension.entity_hosts())

    def get(self, name: str) -> Extension | None:
        """Return an extension by its name; None if the Dendrite has no such extension."""
        return self._extensions.get(name)

    def entity_hosts(self) -> Sequence[EntityHost]:
        """Return the hosts of all entities that the extensions announce."""
        return self._hosts

    def undeliverable(self, signal: Signal, why: Undelivered) -> None:
        """Pass an undeliverable Signal to the extension that handles its type."""
        handle = self._undeliverables.get(signal.type)
        if handle is not None:
            # The Synapse calls it, often inside a publish of someone else.
            with logged_failures("%r failed on undeliverable %s", handle, signal.id):
                handle(signal, why)

    def neuron_departed(self, neuron_id: str, dendrite_id: str) -> None:
        """Tell every extension that a Neuron departed."""
        for extension in self:
            with logged_failures("extension %r failed on the departure of %r", extension.name, neuron_id):
                extension.neuron_departed(neuron_id, dendrite_id)

    async def trace_stopped(self, stop: Signal) -> dict[str, Any]:
        """Tell every extension that a trace was stopped; return their parts of the STOPPED payload."""
        details: dict[str, Any] = {}
        for extension in self:
            with logged_failures("extension %r failed on STOP %s", extension.name, stop.id):
                details.update(await extension.trace_stopped(stop))
        return details

    async def neuron_asks(self, question: Signal) -> None:
        """Tell every extension that a hosted Neuron asks back."""
        for extension in self:
            with logged_failures("extension %r failed on %s", extension.name, question.id):
                await extension.neuron_asks(question)


def _checked(factory: ExtensionFactory, made: object, ports: Ports) -> Extension:
    if not isinstance(made, Extension):
        raise TypeError(f"an extension is a subclass of Extension; {factory!r} made {made!r}")
    if not is_token(getattr(made, "name", None)):
        raise TypeError(f"{factory!r} needs a class attribute `name` of 1 to 64 of A-Z a-z 0-9 _ -")
    if getattr(made, "ports", None) is not ports:
        raise TypeError(f"extension {made.name!r} has other ports: call super().__init__(ports) in __init__")
    return made
