"""A nats-py client that tells nobody its secrets before the connection is encrypted, if it has to be."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from nats import errors
from nats.aio.client import Client

from cosmo_synapse_nats.options import Servers


class TlsNotOfferedError(errors.Error):
    """The server does not offer TLS."""

    def __str__(self) -> str:
        return "the server offers no TLS, and the connection has to be encrypted"


class SecuredClient(Client):
    """A client for ``servers``. nats-py asks for its TLS context exactly when it encrypts a connection.

    Attributes:
        encrypted: Whether the connection was encrypted.
    """

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self.encrypted = False
        self._servers = servers
        self._context = servers.tls

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The context to encrypt with."""
        self.encrypted = True
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def check(self) -> None:
        """Refuse to go on in the clear where that is not wanted.

        Raises:
            TlsNotOfferedError: The server offers no TLS.
        """
        if self._servers.wants_tls and not self.encrypted:
            raise TlsNotOfferedError

    def secret(self, value: str | None) -> Callable[[], str] | None:
        """Return what nats-py calls for a secret at the moment it sends it."""
        if value is None:
            return None

        def reveal() -> str:
            self.check()
            return value

        return reveal
