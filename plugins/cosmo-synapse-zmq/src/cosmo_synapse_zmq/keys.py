"""CURVE keys: who a hub is, who it lets in, and who a peer is. They are files: no program has them."""

from __future__ import annotations

from pathlib import Path

import attrs
import zmq
import zmq.auth

from cosmo_core import SynapseError


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new pair of keys as ``name.key`` (public) and ``name.key_secret``; return both paths.

    Raises:
        SynapseError: There is one of this name, or the folder cannot be written to.
    """
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for file in (public, secret):
        if file.exists():
            raise SynapseError(f"{file} exists: keys are not overwritten; take another name, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Before there is anything in it that others must not read.
        secret.touch(mode=0o600, exist_ok=False)
        zmq.auth.create_certificates(folder, name)
    except OSError as error:
        raise SynapseError(f"no keys could be written to {folder}: {error}") from None
    return public, secret


@attrs.frozen
class _Pair:
    public: bytes
    secret: bytes = attrs.field(repr=False)

    @classmethod
    def load(cls, path: Path) -> _Pair:
        public, secret = _read(path)
        if secret is None:
            raise SynapseError(f"{path} holds no secret key: name the file that ends in .key_secret")
        return cls(public, secret)


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise SynapseError(f"no key could be read from {path}: {error}") from None


@attrs.frozen
class HubKeys:
    """The keys of a hub.

    Attributes:
        clients: The folder with the public keys (``.key``) of those it lets in.
    """

    _pair: _Pair
    clients: Path

    @classmethod
    def load(cls, key_file: str | Path, clients: str | Path) -> HubKeys:
        """Read the hub's own keys.

        Raises:
            SynapseError: They cannot be read, or ``clients`` is no folder.
        """
        if not Path(clients).is_dir():
            raise SynapseError(f"{clients} is no folder: put the public keys of those to be let in there")
        return cls(_Pair.load(Path(key_file)), Path(clients))

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Have ``socket`` take only those who know the hub's public key, and have one of their own."""
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
        """Read the peer's own keys, and the hub's public one: 40 characters of Z85, or a file that has them.

        Raises:
            SynapseError: They cannot be read.
        """
        if isinstance(server_key, str) and len(server_key) == 40:
            return cls(_Pair.load(Path(key_file)), server_key.encode())
        return cls(_Pair.load(Path(key_file)), _read(Path(server_key))[0])

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Have ``socket`` talk only to the hub with that key."""
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._hub)
