"""Reading what nats-py would also read: headers and reply addresses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats import errors
from nats.aio.msg import Msg

from cosmo_synapse_nats.connection import STREAM_HEADER, _decoded, _encoded
from cosmo_synapse_nats.durable.streams import Origin

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"[!-9;-~]{1,20}", fullmatch=True)
CLIENT: Any = None


@pytest.mark.parametrize("domain", ["", "hub.account."])
@pytest.mark.parametrize("end", ["", ".random"])
def test_origin_is_that_which_nats_reads(domain: str, end: str) -> None:
    reply = f"$JS.ACK.{domain}tasks.c.2.17.5.1700000000500000000.3{end if domain else ''}"
    msg = Msg(CLIENT, reply=reply)
    origin = Origin.of(msg)
    assert origin == Origin("c", 2, 17, 5, 1700000000.5)
    assert origin.stored_at == msg.metadata.timestamp.timestamp()
    assert (origin.sequence, origin.number) == (msg.metadata.sequence.stream, msg.metadata.sequence.consumer)


@pytest.mark.parametrize("reply", ["", "$JS.ACK", "_INBOX.a.b.c.1.2.3.4.5", "$JS.API.a.b.1.2.3.4.5"])
def test_message_that_comes_from_no_stream_has_no_origin(reply: str) -> None:
    with pytest.raises(errors.NotJSMessageError):
        Origin.of(Msg(CLIENT, reply=reply))


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_encoded_headers_are_decoded(headers: dict[str, str]) -> None:
    assert _decoded(_encoded(headers)) == headers


@pytest.mark.parametrize(
    "lines",
    [
        f"{STREAM_HEADER}: a\r\n{STREAM_HEADER}: b\r\n",
        f"{STREAM_HEADER}:a\r\n",
        f"X: y\n{STREAM_HEADER}: a\r\n",
        "no colon\r\n",
        "folded: a: b\r\n",
    ],
)
@pytest.mark.parametrize("first", ["NATS/1.0\r\n", "NATS/1.0 503\r\n"])
def test_headers_of_another_form_are_left_to_nats(first: str, lines: str) -> None:
    assert _decoded(f"{first}{lines}\r\n".encode()) is None
