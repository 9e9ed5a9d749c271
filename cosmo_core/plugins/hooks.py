"""The registered hook plugins, and their implementations in the order in which they are asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from cosmo_core.errors import HookError, PluginConflictError
from cosmo_core.plugins import specs
from cosmo_core.plugins.signatures import check_plugin, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@attrs.frozen
class Owner:
    """A hook plugin and where it comes from.

    Attributes:
        plugin: Its name.
        distribution: The distribution that brings it; None when the program registered it itself.
        version: The version of that distribution.
        order: Its place; lower is asked first, equals by name.
    """

    plugin: str
    distribution: str | None
    version: str | None
    order: int

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}" if self.distribution else "this program"
        return f"plugin {self.plugin} of {origin}"

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note on whatever is raised that it comes from this plugin."""
        try:
            yield
        except Exception as error:
            error.add_note(f"from {self}")
            raise


@attrs.frozen
class Implementation:
    """One plugin's function for one hook. Called with all arguments, it takes those it asked for."""

    owner: Owner
    hook: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    def __call__(self, **arguments: Any) -> Any:
        """Run the plugin's function."""
        return self.function(**{name: arguments[name] for name in self.parameters})


class HookRegistry:
    """The hook plugins. pluggy recognises and stores them; asking them keeps who answered what."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(specs.PROJECT)
        self._pluggy.add_hookspecs(specs)
        self._owners: dict[str, Owner] = {}
        self._implementations: dict[str, tuple[Implementation, ...]] = {}

    @property
    def owners(self) -> Sequence[Owner]:
        """Every registered plugin."""
        return tuple(self._owners.values())

    def implementations(self, hook: str) -> Sequence[Implementation]:
        """Give the implementations of a hook in the order ``(order, plugin name)``."""
        return self._implementations.get(hook, ())

    def register(
        self,
        plugin: object,
        name: str,
        *,
        order: int | None = None,
        distribution: str | None = None,
        version: str | None = None,
    ) -> None:
        """Add a plugin, or nothing of it.

        Args:
            plugin: A module or object with functions marked with ``hookimpl``.
            name: A name that no other plugin has.
            order: Its place; what the plugin says in ``COSMO_ORDER``, or 0, when None.
            distribution: Where it comes from; None for this program.
            version: The version of that distribution.

        Raises:
            HookError: It does not fit the specifications.
            PluginConflictError: The name, or the plugin, is registered already.
        """
        if name in self._owners:
            raise PluginConflictError(f"the name {name!r} is taken by {self._owners[name]}: choose another")
        check_plugin(self._pluggy, name, plugin)
        owner = Owner(name, distribution, version, _order(name, plugin, order))
        try:
            self._pluggy.register(plugin, name)
        except ValueError as error:
            known = self._pluggy.get_name(plugin)
            raise PluginConflictError(
                f"plugin {name!r} equals plugin {known!r}, which is registered already"
            ) from error
        self._owners[name] = owner
        self._arrange()

    def _arrange(self) -> None:
        # Sorted here because pluggy's own order is the reverse of registration, which is directory order.
        for caller in vars(self._pluggy.hook).values():
            found = [
                Implementation(
                    self._owners[impl.plugin_name], caller.name, impl.function, parameters(impl.function)
                )
                for impl in caller.get_hookimpls()
            ]
            found.sort(key=lambda one: (one.owner.order, one.owner.plugin, one.function.__name__))
            self._implementations[caller.name] = tuple(found)


def _order(name: str, plugin: object, order: int | None) -> int:
    place = getattr(plugin, "COSMO_ORDER", 0) if order is None else order
    if type(place) is not int:
        raise HookError(f"plugin {name!r}: its order must be an integer and is {place!r}")
    return place
