"""The cost of a round trip over NATS over the same with bare nats-py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

import attrs

from cosmo_synapse_nats.testing import NatsServer
from tests.bench.cross_process import IN_FLIGHT, RoundTripper, compare, dispatching
from tests.bench.measure import MissingError
from tests.bench.nats_echo import requests, stored, work
from tests.bench.report import Figure, Pair
from tests.bench.subprocesses import script


@attrs.frozen
class Form:
    """A way to use NATS, and its target.

    Attributes:
        name: The name of the figure.
        at_once: How many round trips are in flight.
        trips: How many round trips are measured.
        bare: The client of the same with bare nats-py. Its name is that of its server in `nats_echo`.
        against: The description of the baseline.
        target: The target of the project.
        durable: Whether TASKs and answers are stored.
    """

    name: str
    at_once: int
    trips: int
    bare: Callable[[str], AbstractAsyncContextManager[RoundTripper]]
    against: str
    target: str
    durable: bool = False


RPC: Final = "request and reply"
WORKING: Final = "publish, pull, ack, reply"
STORED: Final = "publish, pull, ack, store the reply"

FORMS: Final = (
    Form("sequential", 1, 2_000, requests, RPC, "≥ 0.6 (goal 0.92)"),
    Form(f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000, requests, RPC, "≥ 0.5 (goal 0.85)"),
    Form(f"durable, {IN_FLIGHT} in flight", IN_FLIGHT, 5_000, work, WORKING, "≥ 0.6", durable=True),
    Form("durable, answers stored, sequential", 1, 1_000, stored, STORED, "≥ 0.85", durable=True),
    Form(
        f"durable, answers stored, {IN_FLIGHT} in flight",
        IN_FLIGHT,
        5_000,
        stored,
        STORED,
        "≥ 0.85",
        durable=True,
    ),
)


def figures(scale: float) -> Iterator[Figure]:
    """Yield core NATS and JetStream, each one TASK at a time and a hundred in flight."""
    rounds = max(3, int(9 * scale))
    for form in FORMS:
        yield Figure(
            name=f"nats: {form.name}",
            unit="/s",
            against=form.against,
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
        ours, bare = partial(dispatching, url), partial(_bare, server.url, form)
        return asyncio.run(compare(ours, bare, trips, form.at_once, rounds))


@asynccontextmanager
async def _bare(url: str, form: Form) -> AsyncIterator[RoundTripper]:
    async with script("nats_echo.py", form.bare.__name__, url), form.bare(url) as client:
        yield client
