"""One connection to a NATS system: made within bounds, made again when it breaks, ended without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from nats import errors

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.failures import connect_failure, is_refusal, told
from cosmo_synapse_nats.keys import check_keys
from cosmo_synapse_nats.options import Servers
from cosmo_synapse_nats.secured import SecuredClient
from cosmo_synapse_nats.troubles import Troubles

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as Interest

RECONNECT_S: Final = 0.2
"""Seconds between two attempts to reach a server that is gone."""

PENDING_BYTES: Final = 8 * 1024 * 1024
"""Bytes that may wait to be sent, also while no server can be reached."""

CLOSE_S: Final = 2.0
"""Seconds that ending a connection may take."""

UNBOUNDED_S: Final = 86_400
"""For nats-py, whose own time-outs do harm here."""


class Connection:
    """A connection of this program to ``servers``.

    Args:
        servers: Where to, and who it is there.
        name: How the server lists it.
        reconnected: Called in the event loop each time the connection was made again.

    Attributes:
        where: The servers, without secrets.
        client: The nats-py client.
        troubles: What went wrong, counted.
    """

    def __init__(
        self, servers: Servers, name: str, *, reconnected: Callable[[], None] = lambda: None
    ) -> None:
        self.where = str(servers)
        self.troubles = Troubles(self.where)
        self.client = SecuredClient(servers)
        self._servers = servers
        self._name = name
        self._reconnected = reconnected
        self._attempts: list[Exception] | None = None
        self._gave_up = asyncio.Event()
        self._closing = False
        self._trips: set[asyncio.Future[None]] = set()
        self._interests: set[Interest] = set()
        self._up = asyncio.Event()

    async def open(self) -> None:
        """Connect, to the first server that answers.

        Raises:
            SynapseAuthError: The server does not let this program in.
            SynapseError: No server can be reached, or it is not what it should be.
        """
        check_keys(self._servers)
        attempts: list[Exception] = []
        self._attempts = attempts
        connecting = asyncio.ensure_future(self._connect())
        giving_up = asyncio.ensure_future(self._gave_up.wait())
        try:
            await asyncio.wait(
                {connecting, giving_up},
                timeout=self._servers.connect_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            giving_up.cancel()
            error = await self._outcome(connecting)
        if error is not None:
            raise connect_failure(self.where, self._servers.connect_timeout_s, [*attempts, error]) from error
        self._attempts = None

    async def _outcome(self, connecting: asyncio.Future[None]) -> Exception | None:
        """Return why there is no connection, and let go of what there is of it; None if there is one."""
        if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
            return None
        connecting.cancel()
        await asyncio.wait({connecting})
        await self.close()
        error = None if connecting.cancelled() else connecting.exception()
        return error if isinstance(error, Exception) else TimeoutError("no answer in time")

    async def _connect(self) -> None:
        servers, client = self._servers, self.client
        scheme = "tls" if servers.wants_tls else "nats"
        await client.connect(
            [f"{scheme}://{host}" for host in servers.hosts],
            name=self._name,
            user=client.secret(servers.user),
            password=client.secret(servers.password),
            token=client.secret(servers.token),
            user_credentials=None if servers.credentials is None else str(servers.credentials),
            nkeys_seed=None if servers.nkeys_seed is None else str(servers.nkeys_seed),
            tls=servers.tls,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_closed,
            connect_timeout=servers.connect_timeout_s,  # type: ignore[arg-type]
            reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            pending_size=PENDING_BYTES,
            # Else a publisher that waits for room waits for a server that may never be back.
            flush_timeout=servers.connect_timeout_s,
            # Every subject was checked by a stricter rule before it comes here.
            skip_subject_validation=True,
        )
        client.check()
        # nats-py takes a server that hangs up instead of answering for one that let it in.
        await self.flush()

    async def listen(
        self, subject: str, callback: Callable[[Msg], Coroutine[Any, Any, None]], queue_group: str = ""
    ) -> Interest:
        """Have the server deliver what matches ``subject``, once it has read that.

        Raises:
            nats.errors.Error: The connection has ended.
        """
        interest = await self.client.subscribe(
            subject,
            queue=queue_group,
            cb=callback,
            # Callbacks never wait, so nothing heaps up here, and nats-py need not drop anything.
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        self._interests.add(interest)
        return interest

    async def end(self, interest: Interest) -> None:
        """Have the server deliver no more; what it sent before that is delivered first."""
        self._interests.discard(interest)
        if self.client.is_connected:
            drain: Callable[[], Coroutine[Any, Any, None]] = interest.drain
            if not await self.finishes(drain()):
                self.troubles.note("a subscription did not end in order", interest.subject)
        else:
            await self._cut(interest)

    async def _cut(self, interest: Interest) -> None:
        try:
            await interest.unsubscribe()
        except errors.ConnectionClosedError:
            return
        except errors.Error as error:
            self.troubles.note("a subscription did not end in order", told(error))

    async def flush(self) -> None:
        """Return when the server has read all that was sent.

        Raises:
            SynapseError: It did not say so in time.
        """
        try:
            async with asyncio.timeout(self._servers.connect_timeout_s):
                while not await self._flushed():
                    continue
        except TimeoutError:
            raise SynapseError(
                f"{self.where} did not answer within {self._servers.connect_timeout_s} s: try again when it "
                "is back"
            ) from None

    async def _flushed(self) -> bool:
        if not self.client.is_connected:
            # Without a connection, nats-py takes everything for flushed.
            self._up.clear()
            await self._up.wait()
        return await self.finishes(self.client.flush(UNBOUNDED_S))

    async def finishes(self, round_trip: Coroutine[Any, Any, None]) -> bool:
        """Tell whether a round trip to the server ends well within bounds.

        It is not cancelled if it does not: an answer to a cancelled one would end nats-py's reading for good.
        """
        trip = asyncio.ensure_future(round_trip)
        self._trips.add(trip)
        trip.add_done_callback(self._trip_ended)
        await asyncio.wait({trip}, timeout=self._servers.connect_timeout_s)
        return trip.done() and not trip.cancelled() and trip.exception() is None

    def _trip_ended(self, trip: asyncio.Future[None]) -> None:
        self._trips.discard(trip)
        if not trip.cancelled() and (error := trip.exception()) is not None:
            self.troubles.note("a round trip to the server failed", told(error))

    def _give_up_trips(self) -> None:
        # What was asked on a connection that is gone is never answered.
        for trip in list(self._trips):
            trip.cancel()

    async def close(self) -> None:
        """End the connection. Doing it twice is not an error."""
        self._closing = True
        self._give_up_trips()
        try:
            async with asyncio.timeout(CLOSE_S):
                # nats-py leaves their tasks behind if its last words cannot be sent.
                for interest in self._interests:
                    await self._cut(interest)
                await self.client.close()
        except (TimeoutError, OSError, errors.Error) as error:
            self.troubles.note("a connection did not end in order", told(error))

    async def _on_error(self, error: Exception) -> None:
        if self._closing:
            return
        if self._attempts is None:
            self.troubles.note("an error of the connection", told(error))
            return
        self._attempts.append(error)
        if is_refusal(error) or len(self._attempts) >= len(self._servers.hosts):
            self._gave_up.set()

    async def _on_disconnect(self) -> None:
        self.client.encrypted = False
        self._give_up_trips()
        if not self._closing and self._attempts is None:
            self.troubles.note("the connection broke", "it is made again")

    async def _on_reconnect(self) -> None:
        self._up.set()
        self._reconnected()

    async def _on_closed(self) -> None:
        if not self._closing and self._attempts is None:
            self.troubles.note(
                "the server ended the connection for good", told(self.client.last_error or EOFError())
            )
