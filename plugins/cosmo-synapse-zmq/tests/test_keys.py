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


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "/evil", ".", "..", ".hidden", "a\0b", "a b", "ä"])
def test_a_key_cannot_be_written_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    with pytest.raises(SynapseError, match="is not a valid name of a key"):
        make_keys(folder, name)
    assert list(tmp_path.rglob("*")) == []


def write_key(path: Path, public: str, secret: str | None = None) -> Path:
    secret_line = "" if secret is None else f'    secret-key = "{secret}"\n'
    path.write_text(f'metadata\ncurve\n    public-key = "{public}"\n{secret_line}')
    return path


@pytest.mark.parametrize("content", ["", "not a key", None, 39 * "a", 41 * "a", 40 * "~", 40 * " "])
def test_a_hub_does_not_start_with_an_invalid_key_of_a_client(tmp_path: Path, content: str | None) -> None:
    _, secret = make_keys(tmp_path, "hub")
    clients = tmp_path / "clients"
    make_keys(clients, "good")
    bad = clients / "worker.key"
    if content is None:
        bad.mkdir()
    elif len(content) >= 39:
        write_key(bad, content)
    else:
        bad.write_text(content)
    with pytest.raises(SynapseError, match=r"worker\.key"):
        HubKeys.load(secret, clients)


def test_a_hub_does_not_start_without_any_key_of_a_client(tmp_path: Path) -> None:
    _, secret = make_keys(tmp_path, "hub")
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "README").touch()
    with pytest.raises(SynapseError, match=r"clients has no public key, .* copy the \.key files"):
        HubKeys.load(secret, tmp_path / "clients")


def test_a_path_of_forty_characters_is_not_taken_for_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, secret = make_keys(tmp_path, "hub")
    monkeypatch.chdir(tmp_path)
    existing = 40 * "a"
    Path(existing).write_bytes(public.read_bytes())
    assert PeerKeys.load(secret, existing) == PeerKeys.load(secret, public)
    with pytest.raises(SynapseError, match=r"cannot read a key from a{36}\.key"):
        PeerKeys.load(secret, 36 * "a" + ".key")
    with pytest.raises(SynapseError, match="neither a valid key of 40 characters of Z85 nor a file"):
        PeerKeys.load(secret, 39 * "a" + "~")


def test_a_malformed_key_in_a_file_is_named(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path, "hub")
    known, hidden = (key.decode() for key in zmq.auth.load_certificate(secret) if key)
    short = write_key(tmp_path / "short.key_secret", known, hidden[:-1])
    other = write_key(tmp_path / "other.key_secret", hidden, hidden)
    for path, message in ((short, "malformed key"), (other, "do not belong together")):
        with pytest.raises(SynapseError, match=message) as caught:
            PeerKeys.load(path, public)
        assert str(path) in str(caught.value)
        assert hidden[:-1] not in str(caught.value)
    with pytest.raises(SynapseError, match=r"short\.key has a malformed key"):
        PeerKeys.load(secret, write_key(tmp_path / "short.key", known[:-1]))


def test_a_secret_key_that_others_may_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    public, secret = make_keys(tmp_path, "hub")
    PeerKeys.load(secret, public)
    assert caplog.text == ""
    secret.chmod(0o644)
    PeerKeys.load(secret, public)
    assert f"other users may use the secret key in {secret} (mode 644): chmod 600 it" in caplog.text


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
