"""Neurons backed by a Flask app, or by any other WSGI or ASGI app, in-process and without a socket."""

from __future__ import annotations

from typing import Final

from cosmo_source_flask.factory import asgi, wsgi
from cosmo_source_flask.neuron import AsgiNeuron, WsgiNeuron

__all__ = ["COSMO_API", "AsgiNeuron", "WsgiNeuron", "asgi", "wsgi"]

COSMO_API: Final = 1
"""The version of the plugin interface that this source was written for."""
