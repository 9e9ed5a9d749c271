"""The plugin manager: factories by name, hook plugins with one typed method per hook, and the report."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cosmo_core.contracts.axon import Axon
from cosmo_core.errors import PluginError
from cosmo_core.plugins.entry_points import (
    EXTENSION_GROUP,
    FACTORY_GROUPS,
    GROUPS,
    HOOK_GROUP,
    Entry,
    Installed,
    read_core,
    read_installed,
)
from cosmo_core.plugins.factories import Factories, GroupLoader, owners
from cosmo_core.plugins.hooks import (
    Contribution,
    HookRegistry,
    collect,
    first_decision,
    run_started,
    run_stopping,
)
from cosmo_core.plugins.report import PluginRecord, PluginReport
from cosmo_core.plugins.shapes import (
    DendriteInfo,
    Direction,
    ErrorInfo,
    NeuronWrapper,
    SignalMiddleware,
    SignalObserver,
)
from cosmo_core.plugins.switches import Switches
from cosmo_core.protocol.signal import Signal


class PluginManager:
    """Finds factories by name and calls hook plugins.

    A manager made directly knows the extensions of the core's own distribution and the plugins that are
    registered with it; `discover` makes one that knows the installed plugins.

    Args:
        environ: The environment with the switches; `os.environ` by default.
        read: Reads the installed entry points, on first use.

    Raises:
        PluginError: A switch is not valid.
    """

    def __init__(
        self, *, environ: Mapping[str, str] | None = None, read: Callable[[], Installed] = read_core
    ) -> None:
        switches = Switches.read(os.environ if environ is None else environ)
        self._factories = Factories(read, switches)
        self._hooks = HookRegistry()
        self._extensions: list[Any] = []
        self._hook_loader = GroupLoader(self._factories, HOOK_GROUP, self._add_hooks, switches.strict)
        self._extension_loader = GroupLoader(
            self._factories, EXTENSION_GROUP, self._add_extension, switches.strict
        )

    @classmethod
    def discover(
        cls, *, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> PluginManager:
        """Make a manager of the installed plugins. It reads them on first use.

        Args:
            path: The directories to search for distributions; `sys.path` by default.
            environ: The environment with the switches; `os.environ` by default.
        """
        return cls(environ=environ, read=functools.partial(read_installed, path))

    # --- factories ----------------------------------------------------------------------------------

    def factory(self, group: str, name: str) -> Any:
        """Return the object that a name of a factory group stands for, imported on first use.

        Args:
            group: The group, such as ``"cosmo.sources"``.
            name: The name, such as ``"huggingface"``.

        Raises:
            UnknownPluginError: No installed plugin has the name, or it is disabled. The message lists the
                installed names and says what to install.
            PluginConflictError: Several distributions claim the name.
            PluginLoadError: The plugin cannot be imported.
            PluginIncompatibleError: The plugin is written for another version of the plugin interface.
            ValueError: The group does not exist.
        """
        if group not in FACTORY_GROUPS:
            raise ValueError(f"unknown factory group {group!r}; there are {', '.join(FACTORY_GROUPS)}")
        return self._factories.load(self._factories.choose(group, name))

    def names(self, group: str) -> dict[str, str]:
        """Return the names of a group that are not disabled, with the distribution of each.

        A name that several distributions claim has all of them.
        """
        return {name: owners(rivals) for name, rivals in self._factories.claims(group).items()}

    def extensions(self) -> Sequence[Any]:
        """Return the classes of the installed extensions by name, imported on first use.

        An extension that cannot be used is skipped, logged and reported; the others work.

        Raises:
            PluginError: An extension cannot be used, and ``COSMO_STRICT_PLUGINS`` is set.
        """
        self._extension_loader.load()
        return tuple(self._extensions)

    def _add_extension(self, entry: Entry, plugin: Any) -> None:
        if not callable(plugin) or getattr(plugin, "name", None) != entry.name:
            raise PluginError(f"{entry} is not an Extension class with the name {entry.name!r}: {plugin!r}")
        self._extensions.append(plugin)

    def why_absent(self, extension: str) -> str:
        """Return why a Dendrite may lack an extension, and what to do."""
        try:
            self._factories.load(self._factories.choose(EXTENSION_GROUP, extension))
        except PluginError as error:
            return str(error)
        return "pass it in Dendrite(extensions=…), or omit `extensions`; `cosmo plugins` lists all"

    # --- hook plugins -------------------------------------------------------------------------------

    def register(self, plugin: object, *, name: str, order: int | None = None) -> None:
        """Register a hook plugin of the program itself. ``COSMO_DISABLE_PLUGINS`` does not apply to it.

        Args:
            plugin: A module or object with functions marked with ``hookimpl``.
            name: A name that no other hook plugin has.
            order: Its position; lower ones are called first. If None, its ``COSMO_ORDER``, or 0.

        Raises:
            HookError: The plugin does not fit the specifications; nothing of it was registered.
            PluginConflictError: The name, or the plugin, is already registered.
        """
        self._hooks.register(plugin, name, order=order)

    def load_hooks(self) -> None:
        """Import and register the installed hook plugins, once.

        A plugin that cannot be used is skipped, logged and reported; the others work.

        Raises:
            PluginError: A plugin cannot be used, and ``COSMO_STRICT_PLUGINS`` is set.
        """
        self._hook_loader.load()

    def _add_hooks(self, entry: Entry, plugin: Any) -> None:
        self._hooks.register(plugin, entry.name, distribution=entry.distribution, version=entry.version)

    def report(self) -> PluginReport:
        """Return the status of every plugin, without importing any.

        Hook plugins are ``available`` until `load_hooks` has run.
        """
        records = [self._factories.describe(entry) for entry in self._factories.installed.entries]
        records += [
            PluginRecord(HOOK_GROUP, plugin.name, None, None, "loaded")
            for plugin in self._hooks.plugins
            if plugin.distribution is None
        ]
        positions = {group: position for position, group in enumerate(GROUPS)}
        records.sort(key=lambda record: (positions[record.group], record.name))
        return PluginReport((*records, *self._factories.installed.unreadable))

    # --- one method per hook ------------------------------------------------------------------------

    def signal_middleware(
        self, dendrite: DendriteInfo, direction: Direction
    ) -> list[Contribution[SignalMiddleware]]:
        """Call ``cosmo_signal_middleware``; see its specification."""
        return self._collect("cosmo_signal_middleware", dendrite=dendrite, direction=direction)

    def signal_observers(self, dendrite: DendriteInfo) -> list[Contribution[SignalObserver]]:
        """Call ``cosmo_signal_observers``; see its specification."""
        return self._collect("cosmo_signal_observers", plain=True, dendrite=dendrite)

    def neuron_wrappers(self, axon: Axon) -> list[Contribution[NeuronWrapper]]:
        """Call ``cosmo_neuron_wrappers``; see its specification."""
        return self._collect("cosmo_neuron_wrappers", plain=True, axon=axon)

    async def dendrite_started(self, dendrite: DendriteInfo) -> None:
        """Run ``cosmo_dendrite_started``; see its specification."""
        self.load_hooks()
        started = self._hooks.implementations("cosmo_dendrite_started")
        stopping = self._hooks.implementations("cosmo_dendrite_stopping")
        await run_started(started, stopping, {"dendrite": dendrite})

    async def dendrite_stopping(self, dendrite: DendriteInfo) -> None:
        """Run ``cosmo_dendrite_stopping``; see its specification."""
        await run_stopping(self._hooks.implementations("cosmo_dendrite_stopping"), {"dendrite": dendrite})

    def error_info(self, error: BaseException, task: Signal) -> ErrorInfo | None:
        """Call ``cosmo_error_info``; see its specification."""
        return first_decision(self._hooks.implementations("cosmo_error_info"), {"error": error, "task": task})

    def _collect(self, hook: str, *, plain: bool = False, **arguments: Any) -> list[Contribution[Any]]:
        # An Axon may be attached before any Dendrite starts: the first call loads the plugins.
        self.load_hooks()
        return collect(self._hooks.implementations(hook), arguments, plain=plain)


@functools.cache
def default_manager() -> PluginManager:
    """Return the shared manager of the installed plugins."""
    return PluginManager.discover()
