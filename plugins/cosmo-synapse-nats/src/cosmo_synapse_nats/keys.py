"""The files that say who this program is, looked at before nats-py, which hangs on some that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cosmo_core.errors import SynapseAuthError, SynapseError

if TYPE_CHECKING:
    from cosmo_synapse_nats.options import Servers

_PARTS: Final = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")


def check_keys(servers: Servers) -> None:
    """Refuse files that cannot be used.

    Raises:
        SynapseAuthError: One cannot be read, or is something else.
        SynapseError: The package for them is not installed.
    """
    if servers.credentials is None and servers.nkeys_seed is None:
        return
    try:
        import nkeys  # type: ignore[import-untyped]
    except ImportError as error:
        raise SynapseError(
            f"{servers}: nkeys and credentials need a package: pip install 'cosmo-synapse-nats[nkeys]'"
        ) from error
    if servers.credentials is not None:
        content = _content(servers, "credentials", servers.credentials)
        if not all(part in content for part in _PARTS):
            raise SynapseAuthError(
                f"{servers}: {servers.credentials} holds no credentials: it needs a user's JWT and its seed"
            )
    if servers.nkeys_seed is not None:
        content = _content(servers, "nkeys_seed", servers.nkeys_seed)
        try:
            nkeys.from_seed(bytearray(content.strip())).wipe()
        except (nkeys.NkeysError, ValueError):
            # Not chained: what it was is in the error.
            raise SynapseAuthError(
                f"{servers}: {servers.nkeys_seed} holds no nkey seed: it is one line that begins with SU"
            ) from None


def _content(servers: Servers, option: str, path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SynapseAuthError(f"{servers}: {option} cannot be read from {path}: {error.strerror}") from error
