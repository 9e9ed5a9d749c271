"""The speed of other libraries, each in one run with ours: the same round trip, on the same kind of bus.

They are not requirements of the bench: `nox -s rivals` installs them, and measures this family.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

import attrs

from cosmo_synapse_nats.testing import NatsServer
from tests.bench.bus import echo_bus
from tests.bench.cross_process import IN_FLIGHT, RoundTripper, compare, dispatching
from tests.bench.measure import MissingError
from tests.bench.report import Figure, Pair


@attrs.frozen
class Rival:
    """Another library.

    Attributes:
        name: Its distribution.
        module: The module with its echo.
        opener: The name of the function in it that opens the echo.
        over_nats: Whether both sides use a NATS server, with the worker in another process.
    """

    name: str
    module: str
    opener: str
    over_nats: bool = False

    def echo(self) -> Callable[..., AbstractAsyncContextManager[RoundTripper]]:
        """Return the function that opens the echo.

        Raises:
            MissingError: The library is not installed.
        """
        # Another distribution may have a module of the same name.
        try:
            distribution(self.name)
        except PackageNotFoundError as error:
            raise MissingError(f"{self.name} is not installed; `nox -s rivals` installs it") from error
        module: Any = import_module(f"tests.bench.{self.module}")
        opener: Callable[..., AbstractAsyncContextManager[RoundTripper]] = getattr(module, self.opener)
        return opener


RIVALS: Final = (
    Rival("autogen-core", "autogen_echo", "echo"),
    Rival("cosmonapse", "cosmonapse_echo", "greeter"),
    Rival("faststream", "faststream_echo", "requests", over_nats=True),
)


def figures(scale: float) -> Iterator[Figure]:
    """Yield each library, one round trip at a time and a hundred in flight, against ours."""
    rounds = max(3, int(9 * scale))
    for rival in RIVALS:
        for name, at_once, trips in (
            ("sequential", 1, 2_000),
            (f"{IN_FLIGHT} in flight", IN_FLIGHT, 10_000),
        ):
            yield Figure(
                name=f"rivals: {rival.name}{' over NATS' if rival.over_nats else ''}, {name}",
                unit="/s",
                against="ours",
                measure=partial(_measure, rival, max(1, int(trips * scale)), at_once, rounds),
            )


def _measure(rival: Rival, trips: int, at_once: int, rounds: int) -> Pair:
    echo = rival.echo()
    if not rival.over_nats:
        return asyncio.run(compare(echo, _in_process, trips, at_once, rounds))
    try:
        running = NatsServer.start()
    except FileNotFoundError as error:
        raise MissingError(str(error)) from None
    with running as server:
        theirs, ours = partial(echo, server.url), partial(dispatching, server.url)
        return asyncio.run(compare(theirs, ours, trips, at_once, rounds))


@asynccontextmanager
async def _in_process() -> AsyncIterator[RoundTripper]:
    async with echo_bus() as bus:
        yield bus
