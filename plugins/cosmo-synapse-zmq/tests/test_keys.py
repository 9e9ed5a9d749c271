"""Key files: they are never overwritten, and secrets are never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq.auth

from cosmo_core import SynapseError
from cosmo_synapse_zmq import Address, Hub, HubKeys, PeerKeys, ZmqSynapse, from_url, make_keys


def test_make_keys_writes_two_files_and_only_the_owner_can_read_the_secret_one(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path / "new" / "folder", "worker")
    assert (public.name, secret.name) == ("worker.key", "worker.key_secret")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    known, nothing = zmq.auth.load_certificate(public)
    assert nothing is None
    assert zmq.auth.load_certificate(secret) == (known, zmq.auth.load_certificate(secret)[1])


@pytest.mark.parametrize("suffix", [".key", ".key_secret"])
def test_keys_are_not_overwritten(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"worker{suffix}").write_text("existing")
    with pytest.raises(SynapseError, match="not overwritten"):
        make_keys(tmp_path, "worker")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["existing"]


def test_the_error_names_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SynapseError, match=r"cannot write keys to .*file"):
        make_keys(tmp_path / "file", "worker")


def test_a_peer_needs_its_secret_and_the_hubs_public_key(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path, "hub")
    with pytest.raises(SynapseError, match="has no secret key"):
        PeerKeys.load(public, public)
    with pytest.raises(SynapseError, match=r"cannot read a key from .*missing"):
        PeerKeys.load(tmp_path / "missing", public)
    with pytest.raises(SynapseError, match=r"cannot read a key from .*missing"):
        PeerKeys.load(secret, tmp_path / "missing")
    (tmp_path / "other").write_text("not a key")
    with pytest.raises(SynapseError, match=r"cannot read a key from .*other"):
        PeerKeys.load(secret, tmp_path / "other")
    with pytest.raises(SynapseError, match="is not a folder"):
        HubKeys.load(secret, tmp_path / "missing")


def test_the_hubs_key_is_given_as_a_file_or_as_text(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path, "hub")
    written = zmq.auth.load_certificate(public)[0].decode()
    assert (
        PeerKeys.load(secret, written) == PeerKeys.load(secret, str(public)) == PeerKeys.load(secret, public)
    )


def test_one_key_without_the_other_is_rejected(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path, "hub")
    for options in ({"key_file": str(secret)}, {"server_key": str(public)}):
        with pytest.raises(SynapseError, match="must be given together"):
            from_url("zmq://127.0.0.1:1", **options)


def test_no_secret_is_in_any_repr(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path, "hub")
    hidden = zmq.auth.load_certificate(secret)[1]
    assert hidden is not None
    address = Address.parse("zmq://hub.example:1")
    hub_keys, peer_keys = HubKeys.load(secret, tmp_path), PeerKeys.load(secret, public)
    shown = (hub_keys, peer_keys, Hub(address, keys=hub_keys), ZmqSynapse(address, keys=peer_keys))
    for each in shown:
        for text in (repr(each), str(each), f"{each}"):
            assert hidden.decode() not in text
