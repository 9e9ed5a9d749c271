"""The options of the sources: checked once, when the Neuron is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Self

from cosmo_source_flask.application import check_app
from cosmo_source_flask.checks import is_number, need, need_count, need_flag
from cosmo_source_flask.http_fields import checked_headers, checked_method, checked_path
from cosmo_source_flask.interfaces import ASGI, WSGI, Interface

DEFAULT_TIMEOUT_S: Final = 60.0
DEFAULT_MAX_RESPONSE_BYTES: Final = 16 << 20
DEFAULT_MAX_REDIRECTS: Final = 10
DEFAULT_THREADS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What both kinds of Neuron are made from; what may be secret is not in the repr.

    Attributes:
        app: The app, or an import string.
        default_method: Used when the input names none; None is POST with a body, and GET without.
        default_path: Used when the input names none.
        base_headers: Sent with every request, unless the input brings one of the same name.
        timeout: How long one call may take, all in all, in seconds.
        follow_redirects: Whether a redirect within the app is followed.
        max_redirects: How many of them in a row.
        max_response_bytes: The largest body that is taken from the app.
    """

    app: Any = field(repr=False)
    default_method: str | None = None
    default_path: str = "/"
    base_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT_S
    follow_redirects: bool = True
    max_redirects: int = DEFAULT_MAX_REDIRECTS
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES

    interface: ClassVar[Interface]

    def __post_init__(self) -> None:
        check_app(self.app, self.interface)
        if self.default_method is not None:
            checked_method("default_method", self.default_method)
        checked_path("default_path", self.default_path)
        limit = self.timeout
        need(is_number(limit) and limit > 0, "timeout", limit, "a positive number of seconds")
        need_flag("follow_redirects", self.follow_redirects)
        need_count("max_redirects", self.max_redirects, at_least=0)
        need_count("max_response_bytes", self.max_response_bytes, at_least=1)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Check what the user gave.

        Raises:
            TypeError: There is no such option, or no app, or it is no app of this kind.
            ValueError: A value cannot work.
        """
        names = [option.name for option in fields(cls)]
        kind = cls.interface.name.lower()
        if unknown := sorted(set(given) - set(names)):
            raise TypeError(f"{kind} has no option {', '.join(unknown)}; it has {', '.join(sorted(names))}")
        if given.get("app") is None:
            raise TypeError(f"{kind} needs app: the app itself, or an import string such as 'module:app'")
        headers = given.get("base_headers")
        checked = {} if headers is None else checked_headers("base_headers", headers)
        return cls(**{**given, "base_headers": checked})


@dataclass(frozen=True, slots=True, kw_only=True)
class WsgiOptions(Options):
    """What a `WsgiNeuron` is made from.

    Attributes:
        threads: How many requests the app answers at once; further ones wait within their timeout.
    """

    threads: int = DEFAULT_THREADS

    interface: ClassVar[Interface] = WSGI

    def __post_init__(self) -> None:
        Options.__post_init__(self)  # super() does not work in a dataclass with slots
        need_count("threads", self.threads, at_least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsgiOptions(Options):
    """What an `AsgiNeuron` is made from.

    Attributes:
        lifespan: Whether to run the app's startup and shutdown.
    """

    lifespan: bool = True

    interface: ClassVar[Interface] = ASGI

    def __post_init__(self) -> None:
        Options.__post_init__(self)  # super() does not work in a dataclass with slots
        need_flag("lifespan", self.lifespan)
