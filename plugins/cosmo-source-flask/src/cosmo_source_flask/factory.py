"""The entry points: options in, Neuron out."""

from __future__ import annotations

from typing import Any

from cosmo_source_flask.neuron import AsgiNeuron, WsgiNeuron
from cosmo_source_flask.options import AsgiOptions, WsgiOptions


def wsgi(**options: Any) -> WsgiNeuron:
    """Make a Neuron that answers with a WSGI app, such as a Flask app.

    Nothing runs yet: an app given as an import string is imported by the first call.

    Args:
        **options: ``app``, ``default_method``, ``default_path``, ``base_headers``, ``timeout``,
            ``follow_redirects``, ``max_redirects``, ``max_response_bytes`` and ``threads``; the README tells
            what each does.

    Raises:
        TypeError: ``app`` is missing or is no WSGI app, or an option is not known.
        ValueError: An option has a value that cannot work.
    """
    return WsgiNeuron(WsgiOptions.parse(options))


def asgi(**options: Any) -> AsgiNeuron:
    """Make a Neuron that answers with an ASGI app, such as a FastAPI app.

    Nothing runs yet: the app's lifespan begins with the first call, which also imports an app given as an
    import string.

    Args:
        **options: ``app``, ``default_method``, ``default_path``, ``base_headers``, ``timeout``,
            ``follow_redirects``, ``max_redirects``, ``max_response_bytes`` and ``lifespan``; the README tells
            what each does.

    Raises:
        TypeError: ``app`` is missing or is no ASGI app, or an option is not known.
        ValueError: An option has a value that cannot work.
    """
    return AsgiNeuron(AsgiOptions.parse(options))
