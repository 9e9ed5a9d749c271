"""Neurons for a Flask app, or for any other WSGI or ASGI app, in-process and without a socket."""

from __future__ import annotations

from typing import Final

from cosmo_source_flask.neuron import (
    AsgiNeuron,
    StreamingAsgiNeuron,
    StreamingWsgiNeuron,
    WsgiNeuron,
    asgi,
    wsgi,
)

__all__ = [
    "COSMO_API",
    "AsgiNeuron",
    "StreamingAsgiNeuron",
    "StreamingWsgiNeuron",
    "WsgiNeuron",
    "asgi",
    "wsgi",
]

COSMO_API: Final = 1
"""The version of the plugin interface that this source implements."""
