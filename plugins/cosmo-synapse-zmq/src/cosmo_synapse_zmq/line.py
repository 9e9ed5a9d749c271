"""What keeps a peer and its hub in touch: one session, over connections that come and go."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Final, Protocol

from cosmo_core import SynapseAuthError, SynapseError
from cosmo_synapse_zmq import wire
from cosmo_synapse_zmq.address import Address
from cosmo_synapse_zmq.carrying import LocalConnection, carry
from cosmo_synapse_zmq.connection import Connection
from cosmo_synapse_zmq.keys import PeerKeys
from cosmo_synapse_zmq.stream import Outgoing

RETRY_S: Final = 0.1
"""Seconds between two attempts to carry the hub, when the one that did is gone."""

logger = logging.getLogger("cosmo_synapse_zmq")


class Listener(Protocol):
    """What a line tells its Synapse."""

    def obey(self, command: wire.HubCommand) -> None:
        """The hub wants something."""
        ...

    def begin_anew(self, unsent: list[wire.Publish]) -> None:
        """The hub knows nothing of this peer: tell it what it has to know, and what it did not get."""
        ...

    def welcomed(self, max_frame: int) -> None:
        """The hub is there, and carries frames of so many bytes."""
        ...

    def heard(self) -> None:
        """The hub said something, and may have acknowledged what it was told."""
        ...


class Line:
    """A session with the hub.

    Args:
        address: Where the hub is.
        keys: This peer's keys, and the hub's; None to go without.
        listener: The Synapse.
        timeout_s: For how many seconds a hub may be out of reach before `open` gives up.
        lease_s: Seconds after which either side counts the other one as gone.

    Attributes:
        out: What the hub is told.
    """

    def __init__(
        self, address: Address, keys: PeerKeys | None, listener: Listener, *, timeout_s: float, lease_s: float
    ) -> None:
        self._address = address
        self._keys = keys
        self._listener = listener
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._connection: Connection | LocalConnection | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._greeting = False
        self._known = False
        self._gathering = False
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._session = secrets.token_bytes(wire.SESSION_BYTES)
        self.out = Outgoing(wire.PeerData, self._send, self._schedule)

    # --- life ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Reach the hub.

        Raises:
            SynapseAuthError: The hub does not let this peer in.
            SynapseError: No hub can be reached.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if not (self._address.carried and await self._carry()):
                    self._connection = Connection(self._address, self._keys, self, self._lease_s)
                    self._carry_on()
                await self._ready
        except BaseException as error:
            await self.close(0)
            if isinstance(error, TimeoutError):
                raise SynapseError(
                    f"no hub at {self._address} within {self._timeout_s} s;"
                    f" start one: python -m cosmo_synapse_zmq hub {self._address}"
                ) from None
            raise

    async def close(self, linger_ms: int) -> None:
        """Let go of the hub; what was said has ``linger_ms`` to leave."""
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.wait((self._carrying,))
        self.out.up = False
        connection, self._connection = self._connection, None
        if isinstance(connection, LocalConnection):
            await connection.leave()
        elif connection is not None:
            connection.close(linger_ms)

    async def _carry(self) -> bool:
        carried = await carry(self._address, self._lease_s)
        if carried is None:
            return False
        before, self._connection = self._connection, carried.join(self.receive)
        if isinstance(before, Connection):
            before.close(0)
        self.connected()
        return True

    def _carry_on(self) -> None:
        """Carry the hub as soon as whoever does is gone, unless another one does before."""
        if self._address.carried and self._carrying is None:
            self._carrying = self._loop.create_task(self._keep_trying())

    async def _keep_trying(self) -> None:
        try:
            while not self.out.up and not await self._carry():  # noqa: ASYNC110
                # There is nothing to wait for: the system tells nobody that a lock is free again.
                await asyncio.sleep(RETRY_S)
        except SynapseError as error:
            logger.error("%s", error)  # noqa: TRY400 - it says all there is to say
        finally:
            self._carrying = None

    def _schedule(self) -> None:
        # The first thing goes at once, for those that come alone; those right behind it go together.
        if not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._gathered)
            self.out.flush()

    def _gathered(self) -> None:
        self._gathering = False
        self.out.flush()

    def _send(self, message: wire.Message) -> bool:
        return self._connection is not None and self._connection.send(message)

    # --- what the connection tells ------------------------------------------------------------------

    def connected(self) -> None:
        """Say who is there, now that the hub can be reached."""
        self._greeting = True
        # Not before the hub has answered: until then it would not know whose it is.
        self.out.up = False
        self._send(wire.Hello(wire.VERSION, self._session, self.out.received, self._known))

    def disconnected(self) -> None:
        """Keep what is to be said until the hub can be reached again."""
        if self.out.up:
            logger.warning("the hub at %s is out of reach; trying again", self._address)
        self.out.up = False
        self._carry_on()

    def refused(self) -> None:
        """Fail: trying again does not help."""
        self._fail(
            SynapseAuthError(
                f"the hub at {self._address} does not let this program in: check its own key,"
                " the hub's public key, and that the hub has this program's public key"
            )
        )

    def _fail(self, error: SynapseError) -> None:
        if self._ready.done():
            logger.error("%s", error)
        else:
            self._ready.set_exception(error)

    def receive(self, message: wire.Message) -> None:
        """Take a message from the hub."""
        match message:
            case wire.HubData():
                if self.out.take(message.number, message.received):
                    for command in message.commands:
                        self._listener.obey(command)
            case wire.Beat():
                self.out.acknowledge(message.received)
                self.out.beat()
            case wire.Welcome():
                self._welcome(message)
            case wire.Lost() if not self._greeting:
                self.connected()
            case wire.Refusal():
                self._fail(SynapseError(f"the hub at {self._address} refuses: {message.reason}"))
        self._listener.heard()

    def _welcome(self, welcome: wire.Welcome) -> None:
        self._listener.welcomed(welcome.max_frame)
        self._greeting = False
        if self._known and not welcome.resumed:
            self._forget()
        self._known = True
        self.out.resume(welcome.received)
        if not self._ready.done():
            self._ready.set_result(None)

    def _forget(self) -> None:
        unsent = [command for command in self.out.pending() if isinstance(command, wire.Publish)]
        self.out = Outgoing(wire.PeerData, self._send, self._schedule)
        self._listener.begin_anew(unsent)
