"""Options of a NATS Synapse: servers, credentials, and how frames are stored."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import attrs

from cosmo_core.arguments import check_count, check_seconds
from cosmo_core.protocol.ids import is_token

HEADROOM: Final = 4096
"""Bytes of the server's largest message that are reserved for headers."""


@attrs.frozen(kw_only=True)
class Servers:
    """The servers of one NATS system, and this program's credentials. The repr shows no secret.

    Attributes:
        hosts: ``host:port`` of each.
        user: The user's name, for a password.
        password: The password.
        token: A token instead of user and password.
        credentials: The path of a credentials file (JWT and seed).
        nkeys_seed: The path of a file with an nkey seed.
        tls: The TLS context to use. With a context, or with ``encrypted``, no secret is sent to a server that
            does not offer TLS.
        encrypted: Whether the connection must be encrypted.
        connect_timeout_s: Seconds that connecting may take.
        prefix: The first part of the names of this bus's streams, and of its inboxes. Programs with different
            prefixes share neither, so that permissions can separate them.
    """

    hosts: tuple[str, ...]
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    credentials: str | Path | None = attrs.field(default=None, repr=False)
    nkeys_seed: str | Path | None = attrs.field(default=None, repr=False)
    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    encrypted: bool = False
    connect_timeout_s: float = 2.0
    prefix: str = "cosmo"

    def __attrs_post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("a NATS Synapse needs at least one server")
        check_seconds("connect_timeout_s", self.connect_timeout_s, positive=True)
        if self.tls is not None and not isinstance(self.tls, ssl.SSLContext):
            raise TypeError(
                "tls needs an ssl.SSLContext, such as ssl.create_default_context(cafile=…), not "
                f"{type(self.tls).__name__}"
            )
        if not is_token(self.prefix):
            raise ValueError(f"{self.prefix!r} is not a valid prefix: use 1 to 64 of A-Z a-z 0-9 _ -")

    @property
    def inbox_prefix(self) -> str:
        """The first tokens of the inboxes of this bus."""
        return f"_INBOX.{self.prefix}"

    @property
    def tasks(self) -> str:
        """The name of the stream of waiting frames, and the first token of their subjects there."""
        return f"{self.prefix}-tasks"

    @property
    def answers(self) -> str:
        """The name of the stream of answers, and the first token of their subjects there."""
        return f"{self.prefix}-answers"

    @property
    def dead(self) -> str:
        """The name of the stream of dead letters, and the first token of their subjects there."""
        return f"{self.prefix}-dead"

    @property
    def wants_tls(self) -> bool:
        """Whether the connection must be encrypted."""
        return self.encrypted or self.tls is not None

    def __str__(self) -> str:
        scheme = "tls" if self.wants_tls else "nats"
        return f"{scheme}://{','.join(self.hosts)}"


@attrs.frozen(kw_only=True)
class Durability:
    """How frames for queue groups are stored. All programs of one bus must use the same options.

    Attributes:
        ack_wait_s: Seconds after which the frames of a lost member are redelivered. A live member renews its
            lease three times as often.
        max_deliveries: How many times a frame is delivered before it becomes a dead letter.
        retry_s: Seconds until a frame that a handler failed on is redelivered.
        max_bytes: Bytes of all waiting frames. A frame beyond that is rejected: ``overloaded``. Answers take
            at most as much; beyond that the oldest are removed.
        max_waiting: Frames that may wait on one subject. A frame beyond that is rejected: ``overloaded``.
        max_dead: How many dead letters are kept, the newest.
        replicas: On how many servers each frame is stored before it is acknowledged.
        duplicates_s: For how many seconds the server recognizes a repeated ``message_id``.
        store_timeout_s: Seconds that a publisher waits until a frame is stored.
        answers_s: Seconds for which an answer is kept for a caller whose connection is broken.
    """

    ack_wait_s: float = 3.0
    max_deliveries: int = 3
    retry_s: float = 0.5
    max_bytes: int = 1024**3
    max_waiting: int = 10_000
    max_dead: int = 1000
    replicas: int = 1
    duplicates_s: float = 120.0
    store_timeout_s: float = 30.0
    answers_s: float = 120.0

    def __attrs_post_init__(self) -> None:
        for name in ("max_deliveries", "max_bytes", "max_waiting", "max_dead", "replicas"):
            check_count(name, getattr(self, name))
        for name in ("ack_wait_s", "duplicates_s", "store_timeout_s", "answers_s"):
            if check_seconds(name, getattr(self, name)) < 0.1:
                raise ValueError(f"{name} starts at 0.1")
        check_seconds("retry_s", self.retry_s)
