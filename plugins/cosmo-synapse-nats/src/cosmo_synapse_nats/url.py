"""From a URL to a Synapse: ``nats://user:password@one:4222,two:4222?durable=true``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from cosmo_core.errors import SynapseError
from cosmo_synapse_nats.options import Durability, Servers
from cosmo_synapse_nats.synapse import NatsSynapse

DEFAULT_PORT: Final = 4222


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


_SERVERS: Final = frozenset(field.name for field in attrs.fields(Servers)) - {"hosts", "encrypted"}
_DURABILITY: Final = frozenset(field.name for field in attrs.fields(Durability))
_LIMITS: Final = frozenset({"max_frame", "max_in_flight", "max_pending"})
_QUERY: Final[dict[str, Callable[[str], object]]] = {
    "durable": _truth,
    "stream": str,
    "connect_timeout_s": float,
    **dict.fromkeys(_LIMITS, int),
    **dict.fromkeys(("ack_wait_s", "retry_s", "duplicates_s", "store_timeout_s"), float),
    **dict.fromkeys(("max_deliveries", "max_bytes", "max_waiting", "max_dead", "replicas"), int),
}


def from_url(url: str, **options: Any) -> NatsSynapse:
    """Return the Synapse for ``nats://host:port`` or ``tls://host:port``; several are joined by commas.

    Args:
        url: The URL. It may carry ``user:password@`` or ``token@``, percent-encoded, and options that are no
            secrets as a query, such as ``?durable=true&ack_wait_s=10``.
        **options: ``durable=True``, what `Servers` and `Durability` take, and the limits of `NatsSynapse`.

    Raises:
        SynapseError: The URL, or an option in it, means nothing here. No secret is in the message.
        TypeError: There is no such option.
        ValueError: An option is out of its range.
    """
    try:
        parts = urlsplit(url)
        userinfo, hosts = _split_netloc(parts.netloc)
    except ValueError as error:
        raise SynapseError(f"this is no URL of NATS servers: write nats://host:port ({error})") from None
    where = f"{parts.scheme}://{','.join(hosts)}"
    if parts.scheme not in {"nats", "tls"} or parts.path not in {"", "/"} or parts.fragment:
        raise SynapseError(f"{where}: a NATS Synapse takes nats://host:port, or tls://, and a query")
    given = {**_identity(userinfo), **_query(where, parts.query), **options}
    durable = given.pop("durable", False)
    unknown = given.keys() - _SERVERS - _LIMITS - _DURABILITY
    if unknown:
        raise TypeError(f"a NATS Synapse has no option {', '.join(sorted(unknown))}")
    if not durable and (lost := given.keys() & _DURABILITY):
        raise SynapseError(f"{where}: {', '.join(sorted(lost))} is for durable=true only")
    servers = Servers(hosts=hosts, encrypted=parts.scheme == "tls", **_only(given, _SERVERS))
    return NatsSynapse(
        servers,
        durability=Durability(**_only(given, _DURABILITY)) if durable else None,
        **_only(given, _LIMITS),
    )


def _only(given: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}


def _split_netloc(netloc: str) -> tuple[str, tuple[str, ...]]:
    found, hosts = set(), []
    for part in netloc.split(","):
        userinfo, _, host = part.rpartition("@")
        if userinfo:
            found.add(userinfo)
        one = urlsplit(f"nats://{host}")
        if not one.hostname:
            raise ValueError("a server has no name")
        name = f"[{one.hostname}]" if ":" in one.hostname else one.hostname
        hosts.append(f"{name}:{one.port or DEFAULT_PORT}")
    if len(found) > 1:
        raise ValueError("the servers have different users; all of them have to know one")
    return (found.pop() if found else ""), tuple(hosts)


def _identity(userinfo: str) -> dict[str, str]:
    if not userinfo:
        return {}
    user, colon, password = userinfo.partition(":")
    if not colon:
        return {"token": unquote(user)}
    return {"user": unquote(user), "password": unquote(password)}


def _query(where: str, query: str) -> dict[str, object]:
    given = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        convert = _QUERY.get(name)
        if convert is None:
            raise SynapseError(
                f"{where}: {name} is no option of a URL; known are {', '.join(sorted(_QUERY))}"
            )
        try:
            given[name] = convert(text)
        except ValueError:
            raise SynapseError(f"{where}: {name}={text} is no value for it") from None
    return given
