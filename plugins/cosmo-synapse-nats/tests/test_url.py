"""URLs and options of a NATS Synapse."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core import SynapseError
from cosmo_synapse_nats import Durability, Servers, from_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://one", "nats://one:4222"),
        ("nats://one:1,two:2/", "nats://one:1,two:2"),
        ("nats://u:p@one,u:p@two", "nats://one:4222,two:4222"),
        ("tls://token@[::1]:5", "tls://[::1]:5"),
    ],
)
def test_a_url_names_servers(url: str, shown: str) -> None:
    assert repr(from_url(url)) == f"<NatsSynapse {shown} closed>"


def test_the_query_of_a_url_sets_options() -> None:
    synapse = from_url("nats://one?durable=true&ack_wait_s=5&max_deliveries=2&max_frame=100")
    assert synapse.guarantees.takeover_s == 6
    assert synapse.guarantees.max_deliveries == 2
    assert synapse.guarantees.durable
    assert synapse.guarantees.max_frame == 100
    assert not from_url("nats://one?durable=false").guarantees.durable


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_repr_shows_a_secret(password: str, token: str) -> None:
    password, token = f"<{password}>", f"<{token}>"
    servers = Servers(hosts=("h:1",), user="u", password=password, token=token, nkeys_seed=token)
    assert password not in repr(servers) + str(servers)
    assert token not in repr(servers) + str(servers)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nats://", "use nats://host:port"),
        ("nats://u:hunter2@one,v:hunter2@two", "different users"),
        ("nats://u:hunter2@one:port", "use nats://host:port"),
        ("nats://u:hunter2/x@one", "'nats://…@one'; use nats://host:port"),
        ("nats://u:hunter2\u2100x@one", "use nats://host:port"),
        ("nats://u:hunter2", "use nats://host:port"),
        ("nats://u:hunter2@one/path", "use nats://host:port"),
        ("nats://u:hunter2@one#part", "use nats://host:port"),
        ("http://u:hunter2@one", "use nats://host:port"),
        ("nats://u:hunter2@one?durable=perhaps", "durable=perhaps is not a valid value"),
        ("nats://u:hunter2@one?replicas=many&durable=true", "replicas=many is not a valid value"),
        ("nats://u:hunter2@one?password=x", "password is not an option of a URL"),
        (
            "nats://one?connect_timeout_s=nan",
            "connect_timeout_s=nan is not a valid value: a number",
        ),
        ("nats://one?durable=true&replicas=1_0", "replicas=1_0 is not a valid value"),
        ("nats://one?durabel=true", "did you mean durable?"),
        ("nats://u:hunter2@one?replicas=3", "replicas needs durable=true"),
        ("nats://u:hunter2@one?durable=true&durable=true", "durable is given twice; give it once"),
        ("nats://one?durable=true&prefix=a&replicas=1&prefix=hunter2", "prefix is given twice"),
        ("nats://one?max_frame=&max_frame=5", "max_frame= is not a valid value"),
    ],
)
def test_an_invalid_url_is_rejected_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(SynapseError) as caught:
        from_url(url)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_options_out_of_range_are_rejected() -> None:
    with pytest.raises(TypeError, match="a NATS Synapse has no option 'colour'"):
        from_url("nats://one", colour="red")
    for name in ("max_frame", "max_in_flight", "max_pending"):
        for value in (0, 2**53, 1.5, True, "5", math.nan):
            with pytest.raises((TypeError, ValueError), match=f"{name} is an integer"):
                from_url("nats://one", **{name: value})
    for field in attrs.fields(Durability):
        for value in (-1, math.nan, math.inf, 10**400, True, "5"):
            with pytest.raises((TypeError, ValueError), match=f"{field.name} is (a number|an integer)"):
                from_url("nats://one", durable=True, **{field.name: value})
    with pytest.raises(ValueError, match="ack_wait_s is a number of seconds from 0 to"):
        from_url("nats://one?durable=true&ack_wait_s=1e300")
    with pytest.raises(TypeError, match="durable is True or False, not 'false'"):
        from_url("nats://one", durable="false")
    with pytest.raises(ValueError, match="connect_timeout_s"):
        from_url("nats://one", connect_timeout_s=0)
    with pytest.raises(ValueError, match="at least one server"):
        Servers(hosts=())
    for wrong in ({"max_deliveries": 0}, {"ack_wait_s": 0.0}, {"retry_s": -1.0}, {"answers_s": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Durability(**wrong)
    with pytest.raises(ValueError, match=r"'a\.b' is not a valid prefix"):
        from_url("nats://one?prefix=a.b")
    with pytest.raises(TypeError, match=r"tls needs an ssl\.SSLContext"):
        from_url("nats://one", tls="ca.pem")


@pytest.mark.parametrize(
    "url",
    [
        "nats://u:1234/xyz@h",
        "nats://1234/xyz@h",
        "nats://u:1234?xyz@h",
        "nats://u:1234#xyz@h",
        "nats://u:xyz/1234@h:1?durable=true",
    ],
)
def test_a_password_that_is_not_percent_encoded_is_not_shown(url: str) -> None:
    with pytest.raises(SynapseError, match="percent-encode") as caught:
        from_url(url)
    assert "1234" not in str(caught.value)
    assert "xyz" not in str(caught.value)


def test_by_default_a_lost_members_frames_are_taken_over_within_four_seconds() -> None:
    assert from_url("nats://one?durable=true").guarantees.takeover_s == 4
