"""The two ways an app is called, and how to tell whether something can be called that way."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple

Message = MutableMapping[str, Any]
"""An ASGI event, or an ASGI scope."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class Interface(NamedTuple):
    """How a server calls an app.

    Attributes:
        name: Its name.
        arguments: What an app is called with.
        source: The source for such apps.
    """

    name: str
    arguments: tuple[str, ...]
    source: str

    def misfit(self, app: object, label: str) -> str | None:
        """Say why something cannot be called this way, as far as that can be told without calling it."""
        if callable(app) and self._takes_arguments(app) and not (self is WSGI and _is_async(app)):
            return None
        other = ASGI if self is WSGI else WSGI
        return (
            f"{label} is not called with ({', '.join(self.arguments)}), as {self.name} apps are; "
            f"for an app of {other.name} use source={other.source!r}"
        )

    def _takes_arguments(self, app: Callable[..., Any]) -> bool:
        try:
            inspect.signature(app).bind(*self.arguments)
        except ValueError:
            return True  # written in C: it does not say
        except TypeError:
            return False
        return True


WSGI: Final = Interface("WSGI", ("environ", "start_response"), "flask")
ASGI: Final = Interface("ASGI", ("scope", "receive", "send"), "asgi")


def _is_async(app: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)
