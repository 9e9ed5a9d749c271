"""CURVE keys of hubs and peers, and the hub's check of a peer's key. Keys are read from files only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import zmq
import zmq.auth

from cosmo_core import SynapseError
from cosmo_synapse_zmq.sockets import DrainedSocket


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new pair of keys as ``name.key`` (public) and ``name.key_secret``; return both paths.

    Raises:
        SynapseError: A key of this name exists, or the folder cannot be written to.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for file in (public, secret):
        if file.exists():
            raise SynapseError(f"{file} exists and is not overwritten; use another name, or remove the file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The file gets its permissions before it has any content.
        secret.touch(mode=0o600, exist_ok=False)
        zmq.auth.create_certificates(folder, name)
    except OSError as error:
        raise SynapseError(f"cannot write keys to {folder}: {error}") from None
    return public, secret


@attrs.frozen
class _Pair:
    public: bytes
    secret: bytes = attrs.field(repr=False)

    @classmethod
    def load(cls, path: Path) -> _Pair:
        public, secret = _read(path)
        if secret is None:
            raise SynapseError(f"{path} has no secret key; use the file that ends in .key_secret")
        return cls(public, secret)


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise SynapseError(f"cannot read a key from {path}: {error}") from None


@attrs.frozen
class HubKeys:
    """The keys of a hub.

    Attributes:
        clients: The folder with the public keys (``.key``) of the peers that it accepts.
    """

    _pair: _Pair
    clients: Path

    @classmethod
    def load(cls, key_file: str | Path, clients: str | Path) -> HubKeys:
        """Read the hub's own keys.

        Raises:
            SynapseError: They cannot be read, or ``clients`` is not a folder.
        """
        if not Path(clients).is_dir():
            raise SynapseError(f"{clients} is not a folder; put the public keys of accepted peers there")
        return cls(_Pair.load(Path(key_file)), Path(clients))

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Make ``socket`` accept only peers that have a key and know the hub's public key."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret)
        socket.setsockopt(zmq.CURVE_SERVER, 1)


@attrs.frozen
class PeerKeys:
    """The keys of a peer, and its hub's public key."""

    _pair: _Pair
    _hub: bytes

    @classmethod
    def load(cls, key_file: str | Path, server_key: str | Path) -> PeerKeys:
        """Read the peer's own keys, and the hub's public key: 40 characters of Z85, or a file with it.

        Raises:
            SynapseError: They cannot be read.
        """
        if isinstance(server_key, str) and len(server_key) == 40:
            return cls(_Pair.load(Path(key_file)), server_key.encode())
        return cls(_Pair.load(Path(key_file)), _read(Path(server_key))[0])

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Make ``socket`` connect only to the hub with that key."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._hub)


class KeyAuthenticator:
    """Answers ZeroMQ's requests to check a peer's key, in the hub's event loop.

    It accepts the public keys that are in the folder ``keys.clients`` when it starts.

    Args:
        context: The hub's ZeroMQ context.
        keys: The hub's keys.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: HubKeys) -> None:
        self._authenticator = zmq.auth.Authenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(keys.clients))
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = DrainedSocket(self._authenticator.zap_socket, self._receive)

    def _receive(self, parts: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._authenticator.handle_zap_message(parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Accept no more peers."""
        self._socket.close()
        self._authenticator.stop()
