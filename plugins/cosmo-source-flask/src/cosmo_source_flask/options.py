"""The options of the two sources, declared once as types with constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self

from msgspec import Meta

from cosmo_llm import Secrets
from cosmo_llm.options import HIDDEN, Converter, Flag, Options, Seconds
from cosmo_source_flask.app import ASGI, WSGI, Interface, check_app
from cosmo_source_flask.request import checked_headers, checked_method, checked_path

DEFAULT_TIMEOUT_S: Final = 60.0
DEFAULT_MAX_RESPONSE_BYTES: Final = 16 << 20
DEFAULT_MAX_REDIRECTS: Final = 10
DEFAULT_THREADS: Final = 16

# A shorter header value is not secret, and redacting it would garble a traceback.
_SHORTEST_SECRET: Final = 8

AtLeastZero = Annotated[int, Meta(ge=0, description="an integer, at least 0,")]
AtLeastOne = Annotated[int, Meta(ge=1, description="an integer, at least 1,")]


def _method(name: str, value: object) -> str | None:
    return None if value is None else checked_method(name, value)


def _headers(name: str, value: object) -> dict[str, str]:
    return {} if value is None else checked_headers(name, value)


class AppOptions(Options, frozen=True, kw_only=True):
    """The options of both sources.

    Attributes:
        app: The app, or an import string.
        default_method: For an input without a method; None is POST with a body, and GET without.
        default_path: For an input without a path.
        base_headers: Sent with every request, unless the input has a header of the same name.
        timeout: The time limit of one call in total, in seconds.
        follow_redirects: Whether redirects within the app are followed.
        max_redirects: How many redirects are followed in a row.
        max_response_bytes: The size limit of the app's body.
        stream: Whether the Neuron yields the body as it comes.
    """

    INTERFACE: ClassVar[Interface]

    app: Annotated[Any, Meta(description="the app itself, or an import string such as 'module:app'"), HIDDEN]
    default_method: Annotated[str | None, Converter(_method)] = None
    default_path: Annotated[str, Converter(checked_path)] = "/"
    base_headers: Annotated[Mapping[str, str], Converter(_headers), HIDDEN] = {}
    timeout: Seconds = DEFAULT_TIMEOUT_S
    follow_redirects: Flag = True
    max_redirects: AtLeastZero = DEFAULT_MAX_REDIRECTS
    max_response_bytes: AtLeastOne = DEFAULT_MAX_RESPONSE_BYTES
    stream: Flag = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Make options from what the user gave.

        Raises:
            TypeError: There is no such option, or ``app`` is missing or not an app of this kind.
            ValueError: A value cannot work.
        """
        options = super().parse(
            {name: value for name, value in given.items() if (name, value) != ("app", None)}
        )
        check_app(options.app, cls.INTERFACE)
        return options

    @property
    def secrets(self) -> Secrets:
        """The values of the headers and the parts of these, as an app may show a token without its scheme."""
        return Secrets(self.base_headers.values(), shortest=_SHORTEST_SECRET, parts=True)


class WsgiOptions(AppOptions, frozen=True, kw_only=True):
    """The options of a `WsgiNeuron`.

    Attributes:
        threads: How many requests run at once; further ones wait within their timeout.
    """

    SOURCE = "wsgi"
    INTERFACE = WSGI

    threads: AtLeastOne = DEFAULT_THREADS


class AsgiOptions(AppOptions, frozen=True, kw_only=True):
    """The options of an `AsgiNeuron`.

    Attributes:
        lifespan: Whether to run the app's startup and shutdown.
    """

    SOURCE = "asgi"
    INTERFACE = ASGI

    lifespan: Flag = True
