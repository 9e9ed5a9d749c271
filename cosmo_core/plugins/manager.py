"""The face of the plugin system: one typed method per hook, factories by name, and the report."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from cosmo_core.plugins import lifecycle
from cosmo_core.plugins.advice import owners
from cosmo_core.plugins.composition import collect
from cosmo_core.plugins.decisions import first_answer
from cosmo_core.plugins.factories import (
    FACTORY_GROUPS,
    GROUPS,
    HOOK_GROUP,
    Factories,
    Installed,
    read_core,
    read_installed,
)
from cosmo_core.plugins.hook_loading import ExtensionLoader, HookLoader
from cosmo_core.plugins.hooks import HookRegistry
from cosmo_core.plugins.report import PluginRecord, PluginReport
from cosmo_core.plugins.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cosmo_core.contracts.axon import Axon
    from cosmo_core.contracts.dendrite import DendriteInfo
    from cosmo_core.plugins.composition import Contribution
    from cosmo_core.plugins.shapes import (
        Direction,
        ErrorInfo,
        NeuronWrapper,
        SignalMiddleware,
        SignalObserver,
    )
    from cosmo_core.protocol.signal import Signal


class PluginManager:
    """Finds factories by name and asks hook plugins.

    Made directly it knows the extensions of the core's own distribution and the plugins registered with it;
    `discover` makes one that knows what is installed.

    Args:
        environ: Where to read the switches; `os.environ` when omitted.
        read: Reads what is installed, on first use.

    Raises:
        PluginError: A switch cannot be understood.
    """

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, read: Callable[[], Installed] = read_core
    ) -> None:
        switches = Switches.read(os.environ if environ is None else environ)
        self._factories = Factories(read, switches)
        self._hooks = HookRegistry()
        self._loader = HookLoader(self._factories, self._hooks, strict=switches.strict)
        self._extensions = ExtensionLoader(self._factories, strict=switches.strict)

    @classmethod
    def discover(
        cls, *, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> PluginManager:
        """Make a manager of the installed plugins. Nothing is read before it is used.

        Args:
            path: The directories to search for distributions; `sys.path` when omitted.
            environ: Where to read the switches; `os.environ` when omitted.
        """
        return cls(environ=environ, read=functools.partial(read_installed, path))

    # --- factories ----------------------------------------------------------------------------------

    def factory(self, group: str, name: str) -> Any:
        """Import and return what a name of a factory group stands for, once.

        Args:
            group: Such as ``"cosmo.sources"``.
            name: Such as ``"huggingface"``.

        Raises:
            UnknownPluginError: Nothing installed answers to the name; the message says what does, and what
                to install. Or it is disabled.
            PluginConflictError: Two distributions claim the name.
            PluginLoadError: It cannot be imported.
            PluginIncompatibleError: It is written for another version of the plugin interface.
            ValueError: There is no such group.
        """
        if group not in FACTORY_GROUPS:
            raise ValueError(f"no factory group is called {group!r}; there are {', '.join(FACTORY_GROUPS)}")
        return self._factories.load(self._factories.choose(group, name))

    def names(self, group: str) -> dict[str, str]:
        """Give the names of a group that are not disabled, with the distribution that brings each.

        A name that several distributions claim comes with all of them.
        """
        return {name: owners(rivals) for name, rivals in self._factories.claims(group).items()}

    def extensions(self) -> Sequence[Any]:
        """Import the installed extensions, once, and return their classes in the order of their names.

        One that cannot be used is skipped: it is logged, it is in the report, and the others work.

        Raises:
            PluginError: One cannot be used, and ``COSMO_STRICT_PLUGINS`` is set.
        """
        self._extensions.load()
        return self._extensions.extensions

    # --- hook plugins -------------------------------------------------------------------------------

    def register(self, plugin: object, *, name: str, order: int | None = None) -> None:
        """Add a hook plugin of the program itself. The disabling switch does not concern it.

        Args:
            plugin: A module or object with functions marked with ``hookimpl``.
            name: A name that no other hook plugin has.
            order: Its place, lower is asked first; when None what it says in ``COSMO_ORDER``, or 0.

        Raises:
            HookError: It does not fit the specifications; nothing of it was registered.
            PluginConflictError: The name, or the plugin, is registered already.
        """
        self._hooks.register(plugin, name, order=order)

    def load_hooks(self) -> None:
        """Import and register the installed hook plugins, once.

        One that cannot be used is skipped: it is logged, it is in the report, and the others work.

        Raises:
            PluginError: One cannot be used, and ``COSMO_STRICT_PLUGINS`` is set.
        """
        self._loader.load()

    def report(self) -> PluginReport:
        """Say what became of every plugin. Nothing is imported for it.

        Hook plugins are ``available`` until `load_hooks` has run.
        """
        records = [self._factories.record(entry) for entry in self._factories.installed.entries]
        records += [
            PluginRecord(HOOK_GROUP, owner.plugin, None, None, "loaded")
            for owner in self._hooks.owners
            if owner.distribution is None
        ]
        places = {group: place for place, group in enumerate(GROUPS)}
        records.sort(key=lambda record: (places[record.group], record.name))
        return PluginReport((*records, *self._factories.installed.unreadable))

    # --- one method per hook ------------------------------------------------------------------------

    def signal_middleware(
        self, dendrite: DendriteInfo, direction: Direction
    ) -> list[Contribution[SignalMiddleware]]:
        """Ask ``cosmo_signal_middleware``; see its specification."""
        return self._collect("cosmo_signal_middleware", dendrite=dendrite, direction=direction)

    def signal_observers(self, dendrite: DendriteInfo) -> list[Contribution[SignalObserver]]:
        """Ask ``cosmo_signal_observers``; see its specification."""
        return self._collect("cosmo_signal_observers", plain=True, dendrite=dendrite)

    def neuron_wrappers(self, axon: Axon) -> list[Contribution[NeuronWrapper]]:
        """Ask ``cosmo_neuron_wrappers``; see its specification."""
        return self._collect("cosmo_neuron_wrappers", plain=True, axon=axon)

    async def dendrite_started(self, dendrite: DendriteInfo) -> None:
        """Run ``cosmo_dendrite_started``; see its specification."""
        self.load_hooks()
        started = self._hooks.implementations("cosmo_dendrite_started")
        stopping = self._hooks.implementations("cosmo_dendrite_stopping")
        await lifecycle.start(started, stopping, {"dendrite": dendrite})

    async def dendrite_stopping(self, dendrite: DendriteInfo) -> None:
        """Run ``cosmo_dendrite_stopping``; see its specification."""
        await lifecycle.stop(self._hooks.implementations("cosmo_dendrite_stopping"), {"dendrite": dendrite})

    def error_info(self, error: Exception, task: Signal) -> ErrorInfo | None:
        """Ask ``cosmo_error_info``; see its specification."""
        return first_answer(self._hooks.implementations("cosmo_error_info"), {"error": error, "task": task})

    def _collect(self, hook: str, *, plain: bool = False, **arguments: Any) -> list[Contribution[Any]]:
        # An Axon may be attached before any Dendrite starts, so whoever asks first loads.
        self.load_hooks()
        return collect(self._hooks.implementations(hook), arguments, plain=plain)


@functools.cache
def default_manager() -> PluginManager:
    """Give the shared manager of the installed plugins."""
    return PluginManager.discover()
