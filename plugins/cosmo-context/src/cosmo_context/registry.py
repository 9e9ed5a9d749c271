"""The registry of context Neurons: installed ones, and those that the program registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, overload

from cosmo_context.errors import RegistryError
from cosmo_context.neuron import Neuron
from cosmo_core import PluginError, UnknownPluginError
from cosmo_core.plugins import PluginManager, default_manager

GROUP: Final = "cosmo.context_neurons"
"""The entry-point group of installed context Neurons: instances, or classes without required arguments."""

N = TypeVar("N", bound="Neuron | type[Neuron]")

_MISSING: Final[Any] = object()


class Registry:
    """Context Neurons by name, one instance each.

    Args:
        name: The name of the registry in errors.
        plugins: Finds installed context Neurons; the shared manager by default.
    """

    def __init__(self, name: str = "registry", *, plugins: PluginManager | None = None) -> None:
        self._name = name
        self._plugins = plugins
        self._registered: dict[str, Neuron] = {}
        self._installed: dict[str, Neuron] = {}

    @overload
    def register(self, name: str, neuron: N) -> N: ...

    @overload
    def register(self, name: str) -> Callable[[N], N]: ...

    def register(self, name: str, neuron: N = _MISSING) -> N | Callable[[N], N]:
        """Register a context Neuron, or a class without required arguments, under a name.

        Without ``neuron``, return a decorator. The name may differ from the Neuron's own name.

        Returns:
            The registered Neuron or class.

        Raises:
            RegistryError: A Neuron of this name is registered or installed.
            TypeError: The argument is not a context Neuron, or the name is not a string.
        """
        _check_name(name)

        def add(neuron: N) -> N:
            instance = _instance(neuron)
            if name in self:
                raise RegistryError(f"{name!r} is already registered in {self._name}")
            self._registered[name] = instance
            return neuron

        return add if neuron is _MISSING else add(neuron)

    def unregister(self, name: str) -> None:
        """Remove a Neuron that the program registered. Installed Neurons cannot be removed.

        Raises:
            RegistryError: The program registered no Neuron of this name.
        """
        if self._registered.pop(name, None) is None:
            raise RegistryError(f"the program did not register {name!r} in {self._name}")

    def get(self, name: str) -> Neuron:
        """Return the context Neuron with a name. An installed one is imported and made on first use.

        Raises:
            RegistryError: The name is unknown; the message lists the known names.
            PluginError: The Neuron is installed but cannot be used.
            TypeError: The name is not a string.
        """
        _check_name(name)
        for known in (self._registered, self._installed):
            if name in known:
                return known[name]
        self._installed[name] = neuron = self._load(name)
        return neuron

    def _load(self, name: str) -> Neuron:
        try:
            found = self._manager.factory(GROUP, name)
        except UnknownPluginError as error:
            advice = f"; registered here: {', '.join(self._registered)}" if self._registered else ""
            raise RegistryError(f"{name!r} not found in {self._name}: {error}{advice}") from None
        try:
            return _instance(found)
        except Exception as error:
            owner = self._manager.names(GROUP)[name]
            raise PluginError(
                f"context Neuron {name!r} of {owner} cannot be made: {type(error).__name__}: {error}"
            ) from error

    def list_all(self) -> list[str]:
        """Return all names, those of installed Neurons first."""
        return [*self._manager.names(GROUP), *self._registered]

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self._manager.names(GROUP)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_all())

    def __len__(self) -> int:
        return len(self.list_all())

    @property
    def _manager(self) -> PluginManager:
        # Looked up on each use, so that entry points are not read before they are needed.
        return self._plugins or default_manager()

    def __repr__(self) -> str:
        return f"<Registry {self._name!r} {self.list_all()}>"


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a context Neuron must be a string, not {name!r}")


def _instance(found: Any) -> Neuron:
    neuron = found() if isinstance(found, type) else found
    if not isinstance(neuron, Neuron):
        raise TypeError(f"expected a cosmo_context.Neuron or a subclass of it, not {found!r}")
    return neuron


neuron_registry: Final = Registry("neuron_registry")
"""The registry in which `PromptBuilder.add` looks up names by default."""
