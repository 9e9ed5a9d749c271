"""Opening what an installed plugin provides: Neurons by source, Synapses and Engrams by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cosmo_core.errors import EngramError, SynapseError

if TYPE_CHECKING:
    from cosmo_core.contracts.engram import Engram
    from cosmo_core.contracts.neuron import NeuronFn
    from cosmo_core.contracts.synapse import Synapse


def Neuron(source: str, **options: Any) -> NeuronFn:  # noqa: N802 - the promised name; reads as a type
    """Wrap a provider behind the Neuron contract.

    Args:
        source: The name of an installed source, such as ``"huggingface"``.
        **options: Passed to the source as they are.

    Raises:
        UnknownPluginError: No such source is installed; the message names those that are, and the
            install that would add this one.
        PluginLoadError: The source is installed but cannot be imported.
        PluginConflictError: Two distributions bring a source of this name.
    """
    # Imported on use: reading entry points costs more than the rest of the core together.
    from cosmo_core.plugins.manager import default_manager

    neuron: NeuronFn = default_manager().factory("cosmo.sources", source)(**options)
    return neuron


async def connect_synapse(url: str, **options: Any) -> Synapse:
    """Return a connected Synapse for ``url``; its scheme names the plugin, as in ``memory://``.

    Raises:
        UnknownPluginError: No installed plugin answers to the scheme; the message names those that are
            installed, and the install that would add this one.
        SynapseAuthError: The bus does not let this program in.
        SynapseError: The URL has no scheme, or the Synapse could not connect.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        # Not its words: they quote the URL, which may have a password in it.
        raise SynapseError("the URL of a Synapse cannot be read: write one such as memory://") from None
    if not scheme:
        raise SynapseError("the URL has no scheme to say which Synapse is meant: write memory://")
    # Imported on use: reading entry points costs more than the rest of the core together.
    from cosmo_core.plugins.manager import default_manager

    synapse: Synapse = default_manager().factory("cosmo.synapses", scheme)(url, **options)
    await synapse.connect()
    return synapse


def engram_from_url(url: str, **options: Any) -> Engram:
    """Return the Engram for ``url``, not connected yet; its scheme names the plugin, as in ``sqlite://``.

    Raises:
        UnknownPluginError: No installed plugin answers to the scheme; the message names those that are
            installed, and the install that would add this one.
        EngramError: The URL has no scheme.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if not scheme:
        # Not the URL itself, nor what is said of it: it often has a password in it.
        raise EngramError("the URL has no scheme to say which Engram is meant: write sqlite://")
    # Imported on use: reading entry points costs more than the rest of the core together.
    from cosmo_core.plugins.manager import default_manager

    engram: Engram = default_manager().factory("cosmo.engrams", scheme)(url, **options)
    return engram
