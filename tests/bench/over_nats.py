"""The cost of a round trip over NATS over the same with bare nats-py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs

from cosmo_synapse_nats.testing import NatsServer
from tests.bench.cross_process import IN_FLIGHT, RoundTripper, compare, dispatching
from tests.bench.measure import MissingError
from tests.bench.nats_echo import requests, work
from tests.bench.report import Figure, Pair
from tests.bench.subprocesses import script


@attrs.frozen
class Form:
    """A way to use NATS, and its target."""

    name: str
    at_once: int
    trips: int
    target: str
    durable: bool = False


FORMS: Final = (
    Form("sequential", 1, 2_000, "≥ 0.6"),
    Form(f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000, "≥ 0.5"),
    Form(f"durable, {IN_FLIGHT} in flight", IN_FLIGHT, 5_000, "≥ 0.6", durable=True),
)


def figures(scale: float) -> Iterator[Figure]:
    """Yield core NATS, one TASK at a time and a hundred in flight, and JetStream."""
    rounds = max(3, int(9 * scale))
    for form in FORMS:
        yield Figure(
            name=f"nats: {form.name}",
            unit="/s",
            against="publish, pull, ack, reply" if form.durable else "request and reply",
            measure=partial(_measure, form, max(1, int(form.trips * scale)), rounds),
            target=form.target,
        )


def _measure(form: Form, trips: int, rounds: int) -> Pair:
    try:
        running = NatsServer.start(jetstream=True)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None
    with running as server:
        url = f"{server.url}?durable=true" if form.durable else server.url
        ours, bare = partial(dispatching, url), partial(_bare, server.url, durable=form.durable)
        return asyncio.run(compare(ours, bare, trips, form.at_once, rounds))


@asynccontextmanager
async def _bare(url: str, *, durable: bool) -> AsyncIterator[RoundTripper]:
    if durable:
        async with script("nats_echo.py", "work", url), work(url) as working:
            yield working
    else:
        async with script("nats_echo.py", "requests", url), requests(url) as asking:
            yield asking
