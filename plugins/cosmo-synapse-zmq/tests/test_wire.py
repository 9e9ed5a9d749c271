"""The wire protocol: messages survive a round trip, and other bytes raise an expected error."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_synapse_zmq import wire

INTEGERS = st.integers(0, 2**63 - 1)


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for all values of a field of this type."""
    if get_origin(type_) is Literal:
        return st.sampled_from(get_args(type_))
    if get_origin(type_) is list:
        return st.lists(st.one_of(*map(values, get_args(get_args(type_)[0]) or get_args(type_))), max_size=4)
    if get_args(type_):
        return st.one_of(*map(values, get_args(type_)))
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        fields = get_type_hints(type_)
        names = [field.name for field in msgspec.structs.fields(type_)]
        return st.builds(type_, **{name: values(fields[name]) for name in names})
    return {int: INTEGERS, str: st.text(), bytes: st.binary(), bool: st.booleans(), type(None): st.none()}[
        type_
    ]


TO_HUB = [wire.Hello, wire.Datagram, wire.Heartbeat, wire.PeerData]
TO_PEER = [wire.Welcome, wire.Rejection, wire.Heartbeat, wire.HubData, wire.UnknownSession]


@given(st.one_of(*map(values, TO_HUB)))
def test_the_hub_decodes_messages_of_a_peer(message: wire.Message) -> None:
    assert wire.decode_for_hub(wire.encode(message)) == message


@given(st.one_of(*map(values, TO_PEER)))
def test_a_peer_decodes_messages_of_the_hub(message: wire.Message) -> None:
    assert wire.decode_for_peer(wire.encode(message)) == message


@pytest.mark.parametrize("command", [*get_args(wire.PeerCommand), *get_args(wire.HubCommand)])
def test_every_command_has_a_unique_tag(command: type[wire.Command]) -> None:
    tags = [each.__struct_config__.tag for each in get_args(wire.PeerCommand) + get_args(wire.HubCommand)]
    assert tags.count(command.__struct_config__.tag) == 1


@given(st.binary())
def test_random_bytes_decode_or_raise_an_expected_error(raw: bytes) -> None:
    for decode in (wire.decode_for_hub, wire.decode_for_peer):
        try:
            assert isinstance(decode(raw), wire.Message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


@given(st.one_of(*map(values, TO_HUB)), st.data())
def test_a_truncated_message_is_rejected(message: wire.Message, data: st.DataObject) -> None:
    raw = wire.encode(message)
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        wire.decode_for_hub(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 32))
def test_commands_are_counted_without_decoding(number: int, received: int, count: int) -> None:
    raw = wire.encode(wire.PeerData(number, received, [*count * [wire.Publish("a", b"x", 0)]]))
    assert wire.count_commands(raw) == (count if count < 16 else wire.MAX_COMMANDS)
    assert wire.count_commands(memoryview(raw)) == wire.count_commands(raw)


@given(st.binary(max_size=30))
def test_the_commands_of_other_bytes_count_as_many(rest: bytes) -> None:
    assert 0 <= wire.count_commands(wire.PEER_DATA + rest) <= wire.MAX_COMMANDS
    assert wire.count_commands(wire.PEER_DATA + b"\xc0" + rest) == wire.MAX_COMMANDS
    assert wire.count_commands(wire.PEER_DATA) == wire.MAX_COMMANDS
