"""URLs of NATS Synapses, such as ``nats://user:password@one:4222,two:4222?durable=true``."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from cosmo_core.arguments import check_flag, check_options, did_you_mean, parse_option
from cosmo_core.errors import SynapseError, redacted
from cosmo_synapse_nats.options import Durability, Servers
from cosmo_synapse_nats.synapse import NatsSynapse

DEFAULT_PORT: Final = 4222


_SERVERS: Final = frozenset(field.name for field in attrs.fields(Servers)) - {"hosts", "encrypted"}
_DURABILITY: Final = frozenset(field.name for field in attrs.fields(Durability))
_LIMITS: Final = frozenset({"max_frame", "max_in_flight", "max_pending"})
_QUERY: Final[dict[str, type]] = {
    "durable": bool,
    "prefix": str,
    "connect_timeout_s": float,
    **dict.fromkeys(_LIMITS, int),
    **dict.fromkeys(("ack_wait_s", "retry_s", "duplicates_s", "store_timeout_s", "answers_s"), float),
    **dict.fromkeys(("max_deliveries", "max_bytes", "max_waiting", "max_dead", "replicas"), int),
}


def from_url(url: str, **options: Any) -> NatsSynapse:
    """Return the Synapse for ``nats://host:port`` or ``tls://host:port``; several are joined by commas.

    Args:
        url: The URL. It may have ``user:password@`` or ``token@``, percent-encoded, and a query with options
            other than secrets, such as ``?durable=true&ack_wait_s=10``.
        **options: ``durable=True``, the options of `Servers` and `Durability`, and the limits of
            `NatsSynapse`.

    Raises:
        SynapseError: The URL, or an option in it, is invalid. The message contains no secret.
        TypeError: An option is unknown, or has a value of a wrong type.
        ValueError: An option is out of its range.
    """
    try:
        parts = _split(url)
        userinfo, hosts = _split_netloc(parts.netloc)
    except ValueError:
        # The text of that error is not passed on: it may quote a password.
        raise SynapseError(
            f"invalid URL of NATS servers: {redacted(url)!r}; use nats://host:port, and percent-encode "
            "/ ? # @ in a user, password or token"
        ) from None
    where = f"{parts.scheme}://{','.join(hosts)}"
    if parts.scheme not in {"nats", "tls"} or parts.path not in {"", "/"} or parts.fragment:
        raise SynapseError(f"{where}: use nats://host:port or tls://host:port, with an optional query")
    given = {**_identity(userinfo), **_query(where, parts.query), **options}
    check_flag("durable", durable := given.pop("durable", False))
    check_options("a NATS Synapse", given, _SERVERS | _LIMITS | _DURABILITY)
    if not durable and (unused := given.keys() & _DURABILITY):
        raise SynapseError(f"{where}: {', '.join(sorted(unused))} needs durable=true")
    servers = Servers(hosts=hosts, encrypted=parts.scheme == "tls", **_only(given, _SERVERS))
    return NatsSynapse(
        servers,
        durability=Durability(**_only(given, _DURABILITY)) if durable else None,
        **_only(given, _LIMITS),
    )


def _only(given: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("a user, password or token is not percent-encoded")
    return parts


def _split_netloc(netloc: str) -> tuple[str, tuple[str, ...]]:
    found, hosts = set(), []
    for part in netloc.split(","):
        userinfo, _, host = part.rpartition("@")
        if userinfo:
            found.add(userinfo)
        one = urlsplit(f"nats://{host}")
        if not one.hostname:
            raise SynapseError("invalid URL of NATS servers: a server has no host name; use nats://host:port")
        name = f"[{one.hostname}]" if ":" in one.hostname else one.hostname
        hosts.append(f"{name}:{one.port or DEFAULT_PORT}")
    if len(found) > 1:
        raise SynapseError("the NATS servers of a URL have different users; use one user for all of them")
    return (found.pop() if found else ""), tuple(hosts)


def _identity(userinfo: str) -> dict[str, str]:
    if not userinfo:
        return {}
    user, colon, password = userinfo.partition(":")
    if not colon:
        return {"token": unquote(user)}
    return {"user": unquote(user), "password": unquote(password)}


def _query(where: str, query: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _QUERY:
            advice = did_you_mean(name, sorted(_QUERY))
            raise SynapseError(f"{where}: {name} is not an option of a URL; {advice}")
        if name in values:
            raise SynapseError(f"{where}: {name} is given twice; give it once")
        try:
            values[name] = text if _QUERY[name] is str else parse_option(text, _QUERY[name])
        except ValueError as error:
            raise SynapseError(f"{where}: {name}={text} is not a valid value: {error}") from None
    return values
