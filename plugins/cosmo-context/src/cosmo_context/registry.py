"""Context Neurons by name: those that are installed, and those that the program registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, overload

from cosmo_context.errors import RegistryError
from cosmo_context.neuron import Neuron
from cosmo_core import PluginError, UnknownPluginError
from cosmo_core.plugins import PluginManager, default_manager

GROUP: Final = "cosmo.context_neurons"
"""The entry-point group of installed context Neurons: classes to be made without arguments, or instances."""

N = TypeVar("N", bound="Neuron | type[Neuron]")

_MISSING: Final[Any] = object()


class Registry:
    """Context Neurons by name, one instance each.

    Args:
        name: What it is called in errors.
        plugins: Knows what is installed; the shared manager when omitted.
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
        """Register a context Neuron, or a class to be made without arguments; without either, decorate one.

        The name need not be the Neuron's own.

        Returns:
            What was registered.

        Raises:
            RegistryError: The name is registered, or installed, already.
            TypeError: It is no context Neuron, or the name no string.
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
        """Forget a Neuron that the program registered; one that is installed stays.

        Raises:
            RegistryError: The program registered none of that name.
        """
        if self._registered.pop(name, None) is None:
            raise RegistryError(f"{name!r} was not registered in {self._name} by the program")

    def get(self, name: str) -> Neuron:
        """Return the context Neuron of a name; an installed one is imported and made on first use.

        Raises:
            RegistryError: There is none; the message names those there are.
            PluginError: It is installed but cannot be used.
            TypeError: The name is no string.
        """
        _check_name(name)
        for known in (self._registered, self._installed):
            if name in known:
                return known[name]
        self._installed[name] = neuron = self._made(name)
        return neuron

    def _made(self, name: str) -> Neuron:
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
        """Return the names of all, installed ones first."""
        return [*self._manager.names(GROUP), *self._registered]

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self._manager.names(GROUP)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_all())

    def __len__(self) -> int:
        return len(self.list_all())

    @property
    def _manager(self) -> PluginManager:
        # Asked each time: reading what is installed is put off until it is needed.
        return self._plugins or default_manager()

    def __repr__(self) -> str:
        return f"<Registry {self._name!r} {self.list_all()}>"


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a context Neuron is registered and added by its name, a string, not by {name!r}")


def _instance(found: Any) -> Neuron:
    neuron = found() if isinstance(found, type) else found
    if not isinstance(neuron, Neuron):
        raise TypeError(f"expected a cosmo_context.Neuron, or a class of it, not {found!r}")
    return neuron


neuron_registry: Final = Registry("neuron_registry")
"""The context Neurons that `PromptBuilder.add` knows."""
