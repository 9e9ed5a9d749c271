"""CURVE keys of hubs and peers, and the hub's check of a peer's key. Keys are read from files only."""

from __future__ import annotations

import asyncio
import logging
import re
import stat
import struct
from pathlib import Path
from typing import Final

import attrs
import zmq
import zmq.auth
from zmq.utils import z85

from cosmo_core import SynapseError
from cosmo_synapse_zmq.sockets import DrainedSocket, read_parts

KEY_LENGTH: Final = 40
"""Characters in a key, in Z85."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

logger = logging.getLogger("cosmo_synapse_zmq")


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new pair of keys as ``name.key`` (public) and ``name.key_secret``; return both paths.

    Raises:
        SynapseError: The name is not the name of a file, a key of this name exists, or the folder cannot be
            written to.
    """
    if _NAME.fullmatch(name) is None:
        raise SynapseError(
            f"{name!r} is not a valid name of a key: use letters, digits, '.', '_' and '-', and no '.' first"
        )
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
        if zmq.curve_public(secret) != public:
            raise SynapseError(f"the public and the secret key in {path} do not belong together")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            logger.warning("other users may use the secret key in %s (mode %o): chmod 600 it", path, mode)
        return cls(public, secret)


def _read(path: Path) -> tuple[bytes, bytes | None]:
    """Return the public key in a file, and its secret key if it has one."""
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise SynapseError(f"cannot read a key from {path}: {error}") from None
    for key in (public, secret):
        if key is not None and not _is_key(key):
            raise SynapseError(f"{path} has a malformed key: a key has {KEY_LENGTH} characters of Z85")
    return public, secret


def _is_key(text: bytes) -> bool:
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text)) == 32
    except (KeyError, ValueError, struct.error):
        return False


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
            SynapseError: They cannot be read, or ``clients`` is not a folder of valid public keys.
        """
        if not Path(clients).is_dir():
            raise SynapseError(f"{clients} is not a folder; put the public keys of accepted peers there")
        accepted = sorted(Path(clients).glob("*.key"))
        if not accepted:
            raise SynapseError(
                f"{clients} has no public key, so no peer could connect; copy the .key files of peers there"
            )
        # ZeroMQ would reject every peer because of one invalid file.
        for file in accepted:
            _read(file)
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

        A text that is the path of a file, or ends in ``.key``, is a path.

        Raises:
            SynapseError: They cannot be read.
        """
        pair, path = _Pair.load(Path(key_file)), Path(server_key)
        given = str(server_key)
        if isinstance(server_key, str) and not given.endswith(".key") and not path.is_file():
            if _is_key(given.encode()):
                return cls(pair, given.encode())
            if len(given) == KEY_LENGTH:
                # It may be a key with a typing error, so that it is not quoted.
                raise SynapseError("server_key is neither a valid key of 40 characters of Z85 nor a file")
        return cls(pair, _read(path)[0])

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
        self._socket = DrainedSocket(self._authenticator.zap_socket, self._receive, read=read_parts)

    def _receive(self, parts: list[bytes]) -> None:
        task = asyncio.get_running_loop().create_task(self._authenticator.handle_zap_message(parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Accept no more peers."""
        self._socket.close()
        self._authenticator.stop()
