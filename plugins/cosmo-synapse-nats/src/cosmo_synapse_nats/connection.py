"""A connection to NATS servers: authentication, TLS, reconnecting, round trips and closing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ServerSubscription
from nats.js.api import Header
from nats.protocol.command import hpub_cmd, pub_cmd

from cosmo_core.errors import SynapseAuthError, SynapseError
from cosmo_synapse_nats.failures import (
    ErrorLog,
    connect_failure,
    describe,
    is_auth_error,
    is_rejection,
    logger,
)
from cosmo_synapse_nats.options import Servers

RECONNECT_S: Final = 0.2
"""Seconds between two attempts to reconnect."""

PENDING_BYTES: Final = 8 * 1024 * 1024
"""Bytes that may wait to be sent, also while no server can be reached."""

CLOSE_S: Final = 1.0
"""Seconds that closing a connection may take, whatever the server does."""

UNSUBSCRIBE_S: Final = 0.75
"""Seconds that unsubscribing waits for a server that does not answer, for all subscriptions together."""

REJECTED_S: Final = 10.0
"""Seconds for which a server may reject a program that it accepted before the connection ends for good."""

FLUSH_S: Final = 10
"""Seconds after which nats-py gives up a round trip; `Connection.completes` waits less."""

STREAM_HEADER: Final = Header.EXPECTED_STREAM.value
"""The header with the name of the stream for which a message is meant; the server checks it."""

Callback: TypeAlias = "Callable[[Msg], None]"

_CREDENTIALS_PARTS: Final = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")


# --- credentials and TLS ----------------------------------------------------------------------------


def check_keys(servers: Servers) -> None:
    """Check the files with credentials. nats-py hangs on some invalid files.

    Raises:
        SynapseAuthError: A file cannot be read, or its content is invalid.
        SynapseError: The package ``nkeys`` is not installed.
    """
    if servers.credentials is None and servers.nkeys_seed is None:
        return
    try:
        import nkeys  # type: ignore[import-untyped]
    except ImportError as error:
        raise SynapseError(
            f"{servers}: nkeys_seed and credentials need the package nkeys: pip install nkeys"
        ) from error
    if servers.credentials is not None:
        content = _content(servers, "credentials", servers.credentials)
        if not all(part in content for part in _CREDENTIALS_PARTS):
            raise SynapseAuthError(
                f"{servers}: {servers.credentials} is not a credentials file: it needs a user's JWT and seed"
            )
    if servers.nkeys_seed is not None:
        content = _content(servers, "nkeys_seed", servers.nkeys_seed)
        try:
            nkeys.from_seed(bytearray(content.strip())).wipe()
        except (nkeys.NkeysError, ValueError):
            # Not chained: the original error contains the content.
            raise SynapseAuthError(
                f"{servers}: {servers.nkeys_seed} is not an nkey seed: it needs one line that begins with SU"
            ) from None


def _content(servers: Servers, option: str, path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SynapseAuthError(f"{servers}: cannot read {option} from {path}: {error.strerror}") from error


def _warn_of_readable_keys(servers: Servers) -> None:
    for path in (servers.credentials, servers.nkeys_seed):
        if path is not None and os.name == "posix" and Path(path).stat().st_mode & 0o077:
            logger.warning("%s: other users may read the secrets in %s: chmod 600 it", servers, path)


class TlsNotOfferedError(errors.Error):
    """The server does not offer TLS."""

    def __str__(self) -> str:
        return "the server does not offer TLS, and the connection must be encrypted"


class SecuredClient(Client):
    """A nats-py client that sends no secret on an unencrypted connection if encryption is required.

    Attributes:
        encrypted: Whether the connection is encrypted. nats-py reads `ssl_context` exactly when it encrypts
            one.
    """

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self.encrypted = False
        self._stalled = False
        # The bytes that may wait to be sent; -1 if the connection has ended for good.
        self._send_limit = PENDING_BYTES
        self._flush_scheduled = False
        # Those of nats-py that run.
        self._tasks: set[asyncio.Task[Any]] = set()
        # Cached: up to Python 3.11, get_running_loop() makes a system call each time.
        self._loop = asyncio.get_running_loop()
        self._servers = servers
        self._context = servers.tls

    def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> Coroutine[Any, Any, None]:
        """Publish a message.

        Raises:
            OutboundBufferLimitError: The server reads nothing, and too much waits to be sent. Raised when
                awaited; only the first publisher waits for that.
            ConnectionClosedError: The connection has ended for good.
        """
        if self._pending_data_size > self._send_limit:
            return self._publish_beyond_limit(subject, payload, reply, headers)
        return super().publish(subject, payload, reply, headers)

    def send(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> bool:
        """Publish a message; return False if that may take a while: await `publish` then.

        The values of headers must not contain line breaks.

        It is written in the next turn of the event loop, together with all others of this turn. `publish` of
        nats-py needs four coroutines, a future, and a turn of another task for each.
        """
        if self._status != Client.CONNECTED or self._pending_data_size > self._send_limit:
            return False
        if headers is None:
            command = pub_cmd(subject, reply, payload)
        else:
            command = hpub_cmd(subject, reply, _encoded(headers), payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._write_pending)
        return True

    def _write_pending(self) -> None:
        self._flush_scheduled = False
        transport, queue = self._transport, self._flush_queue
        if not self._pending or transport is None or queue is None or not self.is_connected:
            return
        socket = self._socket()
        if socket is not None and not socket.get_write_buffer_size():
            transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        elif queue.empty():
            # The server reads more slowly: the task of nats-py waits for it.
            queue.put_nowait(self._loop.create_future())

    def _socket(self) -> asyncio.WriteTransport | None:
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        return None if writer is None else writer.transport

    async def _publish_beyond_limit(
        self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
    ) -> None:
        if self._send_limit < 0:
            raise errors.ConnectionClosedError
        if self.is_connected:
            if not self._stalled:
                await self._flush_pending(force_flush=True)
            self._stalled = self._pending_data_size > self._send_limit
            if self._stalled:
                raise errors.OutboundBufferLimitError
        await super().publish(subject, payload, reply, headers)

    def end(self) -> None:
        """Publish nothing any more."""
        self._send_limit = -1

    def forget(self, subscription: ServerSubscription) -> None:
        """Deliver nothing more to a subscription, and do not subscribe it again after a reconnect."""
        self._remove_sub(subscription._id)
        subscription._stop_processing()

    def forget_all(self) -> None:
        """Deliver nothing more to any subscription."""
        for subscription in list(self._subs.values()):
            self.forget(subscription)

    def abort(self) -> None:
        """Close the socket at once, whatever waits to be sent."""
        if (socket := self._socket()) is not None:
            socket.abort()

    async def flush(self, timeout: int = FLUSH_S) -> None:
        """Wait until the server has read everything that was sent.

        nats-py writes its PING before commands that still wait to be written. Its PONG would say nothing
        about them.
        """
        if self._transport is not None and self.is_connected:
            await self._transport.drain()  # type: ignore[no-untyped-call]
            # Nothing waits between these two lines and the PING.
            self._transport.writelines(self._pending)
            self._pending, self._pending_data_size = [], 0
        await super().flush(timeout)

    def _connect_command(self) -> bytes:
        # Also before a reconnect: the files may be newer than the connection. nats-py reads a seed only once.
        try:
            check_keys(self._servers)
        except SynapseError as error:
            raise errors.Error(f"nats: authentication is not possible: {error}") from error
        if self._servers.nkeys_seed is not None:
            self._setup_nkeys_connect()
        if (transport := self._transport) is not None:
            # From Python 3.12 on, `writelines` of a socket looks at no limit, and fails once it is closed.
            transport.writelines = lambda payload: transport.write(b"".join(payload))  # type: ignore[method-assign]
        return super()._connect_command()

    async def close(self) -> None:
        """Close the connection, and end all tasks of nats-py.

        nats-py knows the newest task of each kind only. One that reconnects may survive its cancellation, and
        start others after that.
        """
        try:
            await super().close()
        finally:
            await asyncio.sleep(0)
            while tasks := self._tasks - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await asyncio.sleep(0)

    def _track(self) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read_loop(self) -> None:
        self._track()
        await super()._read_loop()

    async def _ping_interval(self) -> None:
        self._track()
        await super()._ping_interval()

    async def _flusher(self) -> None:
        self._track()
        await super()._flusher()

    async def _attempt_reconnect(self) -> None:
        self._track()
        # nats-py raises this if the connection is closed at the end of an attempt.
        with contextlib.suppress(asyncio.InvalidStateError):
            await super()._attempt_reconnect()

    async def _process_err(self, err_msg: str) -> None:
        error = errors.Error(f"nats: {err_msg}")
        if self.is_connected and is_rejection(error):
            # The server ends the connection. nats-py would not reconnect, but there may be new credentials.
            await self._error_cb(error)
            await self._process_op_err(error)
        else:
            await super()._process_err(err_msg)

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            # nats-py gave up this round trip, and would end its reader for good because of the late answer.
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def _process_headers(self, headers: bytes) -> Coroutine[Any, Any, dict[str, str] | None]:
        return self._checked_headers(headers) if headers else super()._process_headers(headers)

    async def _checked_headers(self, headers: bytes) -> dict[str, str] | None:
        parsed = _decoded(headers)
        if parsed is not None:
            return parsed
        parsed = await super()._process_headers(headers)
        # The server heeds the first of several equal headers, and only in this spelling; nats-py is lenient.
        if parsed and STREAM_HEADER in parsed and not _names_one_stream(headers):
            del parsed[STREAM_HEADER]
        return parsed

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The TLS context to encrypt with."""
        self.encrypted = True
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    @property
    def verifies_clients(self) -> bool:
        """Whether the server that spoke last wants certificates of its clients."""
        return bool(self._server_info.get("tls_verify"))

    def check_encrypted(self) -> None:
        """Check that the connection is encrypted if it must be.

        Raises:
            TlsNotOfferedError: The server does not offer TLS.
        """
        if self._servers.wants_tls and not self.encrypted:
            raise TlsNotOfferedError

    def secret(self, value: str | None) -> Callable[[], str] | None:
        """Return a function that nats-py calls for the secret when it sends it."""
        if value is None:
            return None

        def reveal() -> str:
            self.check_encrypted()
            return value

        return reveal


def _encoded(headers: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode()


def _decoded(headers: bytes) -> dict[str, str] | None:
    """Return headers that have the form of `_encoded`; None for all others, which nats-py parses."""
    first, *lines = headers.decode("ascii", "replace").split("\r\n")
    if first != "NATS/1.0" or lines[-2:] != ["", ""]:
        return None
    pairs = [line.split(": ") for line in lines[:-2]]
    if not all(len(pair) == 2 for pair in pairs):
        return None
    parsed: dict[str, str] = dict(pairs)
    return parsed if len(parsed) == len(pairs) else None


def _names_one_stream(headers: bytes) -> bool:
    name = STREAM_HEADER.encode()
    return headers.count(name) == 1 and b"\r\n" + name + b":" in headers


class _Delivery:
    """Calls a function with each message of a subscription, in the turn in which it was read.

    It is what nats-py takes for the future of a subscription. With a coroutine function instead, nats-py
    would put each message into a queue, for another task to take it out.
    """

    def __init__(self, callback: Callback, error_log: ErrorLog) -> None:
        self._callback = callback
        self._error_log = error_log

    def cancelled(self) -> bool:
        """Return False: messages are wanted."""
        return False

    def set_result(self, msg: Msg) -> None:
        """Deliver a message. An error must not reach the reader of nats-py, which would end."""
        try:
            self._callback(msg)
        except Exception as error:  # noqa: BLE001
            logger.exception("a message on %s could not be processed", msg.subject)
            self._error_log.record("a message could not be processed", describe(error))


# --- the connection ---------------------------------------------------------------------------------


class Connection:
    """A connection of this program to ``servers``. nats-py reconnects it.

    Args:
        servers: The servers, and this program's credentials.
        name: The name of the connection in the server's list.
        on_reconnected: Called in the event loop after each reconnect.

    Attributes:
        servers: The servers.
        where: The same, without secrets.
        client: The nats-py client.
        loop: The event loop to which it belongs.
        error_log: The errors of the connection.
        failed: Why the connection has ended for good, once it has.
    """

    def __init__(
        self, servers: Servers, name: str, *, on_reconnected: Callable[[], None] = lambda: None
    ) -> None:
        self.where = str(servers)
        self.error_log = ErrorLog(self.where)
        self.client = SecuredClient(servers)
        self.servers = servers
        self._name = name
        self._on_reconnected = on_reconnected
        self.loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[SynapseError] = self.loop.create_future()
        # When the server first rejected this program, after it had accepted it.
        self._rejected_at: float | None = None
        self._attempts: list[Exception] | None = None
        self._stop_trying = asyncio.Event()
        self._closing = False
        self._round_trips: set[asyncio.Future[None]] = set()
        # Those for which the server did not answer in time.
        self._overdue: set[asyncio.Future[None]] = set()
        self._connected = asyncio.Event()

    async def open(self) -> None:
        """Connect to the first server that answers.

        Raises:
            SynapseAuthError: The server does not accept this program.
            SynapseError: No server can be reached, or the server is not a usable NATS server.
        """
        check_keys(self.servers)
        _warn_of_readable_keys(self.servers)
        attempts: list[Exception] = []
        self._attempts = attempts
        connecting = asyncio.ensure_future(self._connect())
        stopping = asyncio.ensure_future(self._stop_trying.wait())
        try:
            await asyncio.wait(
                {connecting, stopping},
                timeout=self.servers.connect_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopping.cancel()
            error = await self._outcome(connecting)
        if error is not None:
            causes = [*attempts, error]
            verified = self.client.verifies_clients
            raise connect_failure(self.where, self.servers.connect_timeout_s, causes, verified) from error
        self._attempts = None

    async def _outcome(self, connecting: asyncio.Future[None]) -> Exception | None:
        """Return None if the connection was made; else clean up, and return the error."""
        if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
            return None
        connecting.cancel()
        await asyncio.wait({connecting})
        await self.close()
        error = None if connecting.cancelled() else connecting.exception()
        return error if isinstance(error, Exception) else TimeoutError("no answer in time")

    async def _connect(self) -> None:
        servers, client = self.servers, self.client
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
            inbox_prefix=servers.inbox_prefix,
            # Without this, a publisher that waits for buffer space would wait until the server is back.
            flush_timeout=servers.connect_timeout_s,
            # The Synapse has checked every subject by a stricter rule.
            skip_subject_validation=True,
        )
        client.check_encrypted()
        # nats-py does not notice a server that closes the connection instead of answering; a round trip does.
        await self.flush()

    async def subscribe(self, subject: str, callback: Callback, queue_group: str = "") -> ServerSubscription:
        """Subscribe to ``subject``. The server delivers once it has read the request.

        The callback must not block: nothing else is read meanwhile.

        Raises:
            nats.errors.Error: The connection has ended.
        """
        return await self.client.subscribe(
            subject,
            queue=queue_group,
            future=_Delivery(callback, self.error_log),  # type: ignore[arg-type]
        )

    async def unsubscribe(self, subscription: ServerSubscription) -> None:
        """Unsubscribe. Messages that the server sent before are delivered first.

        It waits at most `UNSUBSCRIBE_S`, and not at all for a server that has not answered yet.
        """
        if not self.client.is_connected:
            await self._unsubscribe_now(subscription)
        elif not await self.completes(self._drain(subscription), 0 if self._overdue else UNSUBSCRIBE_S):
            self.error_log.record("a subscription did not end cleanly", subscription.subject)

    async def _drain(self, subscription: ServerSubscription) -> None:
        drain: Callable[[], Coroutine[Any, Any, None]] = subscription.drain
        try:
            await drain()
        except BaseException:
            # nats-py would subscribe again after a reconnect.
            self.client.forget(subscription)
            raise

    async def _unsubscribe_now(self, subscription: ServerSubscription) -> None:
        try:
            await subscription.unsubscribe()
        except errors.ConnectionClosedError:
            return
        except errors.Error as error:
            self.error_log.record("a subscription did not end cleanly", describe(error))

    async def flush(self) -> None:
        """Wait until the server has read everything that was sent.

        Raises:
            SynapseError: The server did not confirm that in time.
        """
        try:
            async with asyncio.timeout(self.servers.connect_timeout_s):
                while not await self._flushed():
                    continue
        except TimeoutError:
            raise SynapseError(
                f"{self.where} did not answer within {self.servers.connect_timeout_s} s: try again when it "
                "can be reached"
            ) from None

    async def _flushed(self) -> bool:
        if not self.client.is_connected:
            # Without a connection, flush() of nats-py returns at once.
            self._connected.clear()
            await self._connected.wait()
        return await self.completes(self.client.flush(), self.servers.connect_timeout_s)

    async def completes(self, round_trip: Coroutine[Any, Any, None], within_s: float) -> bool:
        """Return whether a round trip to the server succeeds in time.

        A late one is not cancelled: it ends in the background.
        """
        task = asyncio.ensure_future(round_trip)
        self._round_trips.add(task)
        task.add_done_callback(self._round_trip_ended)
        try:
            await asyncio.wait({task}, timeout=within_s)
        finally:
            if not task.done():
                self._overdue.add(task)
        return task.done() and not task.cancelled() and task.exception() is None

    def _round_trip_ended(self, task: asyncio.Future[None]) -> None:
        self._round_trips.discard(task)
        self._overdue.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.error_log.record("a round trip to the server failed", describe(error))

    def _cancel_round_trips(self) -> None:
        # A request on a broken connection is never answered.
        for task in list(self._round_trips):
            task.cancel()

    async def close(self) -> None:
        """Close the connection. Closing twice is not an error."""
        self._closing = True
        self._cancel_round_trips()
        try:
            async with asyncio.timeout(CLOSE_S):
                # nats-py leaves a task of its own behind if its last message cannot be sent. The server ends
                # all subscriptions of a connection that closes.
                self.client.forget_all()
                await self.client.close()
        except (TimeoutError, OSError, errors.Error) as error:
            self.error_log.record("a connection did not close cleanly", describe(error))
            self.client.abort()

    async def _on_error(self, error: Exception) -> None:
        if self._closing:
            return
        if self._attempts is None:
            self.error_log.record("an error of the connection", describe(error))
            if not self.client.is_connected:
                # nats-py leaves the socket of a failed attempt open.
                self.client.abort()
                if is_rejection(error):
                    self._on_rejected(error)
            return
        self._attempts.append(error)
        if is_auth_error(error) or len(self._attempts) >= len(self.servers.hosts):
            self._stop_trying.set()

    def _on_rejected(self, error: Exception) -> None:
        now = self.loop.time()
        if self._rejected_at is None:
            self._rejected_at = now
        elif now - self._rejected_at > REJECTED_S and not self.failed.done():
            message = f"{self.where} does not accept this program any more ({describe(error)}): renew its "
            self.failed.set_result(SynapseAuthError(message + "credentials, and start it again"))
            self.error_log.record("the connection has ended for good", describe(error))
            self.client.end()

    async def _on_disconnect(self) -> None:
        self.client.encrypted = False
        self._cancel_round_trips()
        if not self._closing and self._attempts is None:
            self.error_log.record("the connection broke", "reconnecting")

    async def _on_reconnect(self) -> None:
        self._rejected_at = None
        self._connected.set()
        self._on_reconnected()

    async def _on_closed(self) -> None:
        if self._closing or self._attempts is not None or self.failed.done():
            return
        cause = describe(self.client.last_error or EOFError())
        self.error_log.record("the server closed the connection for good", cause)
        message = f"{self.where} closed the connection for good ({cause}); close() this Synapse and "
        self.failed.set_result(SynapseError(message + "connect() again"))
