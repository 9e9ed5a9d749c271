"""Opening installed plugins: Neurons by source, Synapses and Engrams by URL."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from cosmo_core.contracts.neuron import NeuronFn
from cosmo_core.contracts.synapse import Synapse
from cosmo_core.errors import EngramError, SynapseError

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Engram


def Neuron(source: str, **options: Any) -> NeuronFn:  # noqa: N802 - the promised name; reads as a type
    """Wrap a provider behind the Neuron contract.

    Args:
        source: The name of an installed source, such as ``"huggingface"``.
        **options: The options of the source.

    Raises:
        TypeError: ``source`` is not a text.
        UnknownPluginError: The source is not installed; the message lists the installed ones and says how
            to install it.
        PluginLoadError: The source is installed but cannot be imported.
        PluginConflictError: Several distributions provide a source with this name.
    """
    if not isinstance(source, str):
        raise TypeError(
            f"source is a name such as 'ollama', not {source!r}; the decorator of a function is @neuron"
        )
    neuron: NeuronFn = _factory("cosmo.sources", source)(**options)
    return neuron


class ConnectingSynapse:
    """A Synapse that is about to connect: ``await`` it, or use it as ``async with``, which also closes it."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        self._options = options
        self._connected: list[Synapse] = []

    async def _connect(self) -> Synapse:
        scheme = _scheme(self._url)
        if not scheme:
            raise SynapseError(
                "the URL of a Synapse has no scheme, or is malformed: write one such as memory://"
            )
        synapse: Synapse = _factory("cosmo.synapses", scheme)(self._url, **self._options)
        await synapse.connect()
        return synapse

    def __await__(self) -> Generator[Any, Any, Synapse]:
        return self._connect().__await__()

    async def __aenter__(self) -> Synapse:
        self._connected.append(await self._connect())
        return self._connected[-1]

    async def __aexit__(self, *_: object) -> None:
        await self._connected.pop().close()


def connect_synapse(url: str, **options: Any) -> ConnectingSynapse:
    """Connect a Synapse for ``url``; its scheme names the plugin, as in ``memory://``.

    ``await connect_synapse(url)`` returns the Synapse, and the caller closes it; ``async with
    connect_synapse(url) as synapse`` closes it at the end of the block.

    Raises:
        UnknownPluginError: No installed plugin has the scheme; the message lists the installed ones and says
            how to install one. Raised when it connects, as the following are.
        SynapseAuthError: The bus rejected this program.
        SynapseError: The URL has no scheme, or the Synapse could not connect.
    """
    return ConnectingSynapse(url, options)


def engram_from_url(url: str, **options: Any) -> Engram:
    """Return the Engram for ``url``, not connected yet; its scheme names the plugin, as in ``sqlite://``.

    Raises:
        UnknownPluginError: No installed plugin has the scheme; the message lists the installed ones and says
            how to install one.
        EngramError: The URL has no scheme.
    """
    scheme = _scheme(url)
    if not scheme:
        raise EngramError("the URL of an Engram has no scheme, or is malformed: write one such as sqlite://")
    engram: Engram = _factory("cosmo.engrams", scheme)(url, **options)
    return engram


def _scheme(url: str) -> str:
    """Return the scheme of a URL; an empty one without a scheme, or if it is malformed."""
    if not isinstance(url, str):
        raise TypeError(f"a URL is a text such as memory://, not {type(url).__name__}")
    # Imported on use: a program that is given its Synapse has no URL.
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).scheme
    except ValueError:
        # The text of that error quotes the URL, which may contain a password.
        return ""


def _factory(group: str, name: str) -> Any:
    # Imported on use: reading entry points costs more than the rest of the core together.
    from cosmo_core.plugins.manager import default_manager

    return default_manager().factory(group, name)
