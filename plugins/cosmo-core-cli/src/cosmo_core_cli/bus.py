"""The bus that a command uses: its address, and how to connect to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import attrs

from cosmo_core import Dendrite, SignalType, Synapse, SynapseError, connect_synapse
from cosmo_core.errors import redacted
from cosmo_core.plugins import default_manager
from cosmo_core_cli.errors import UserError
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.questions import Questions

DISCOVERY_S: Final = 0.5
"""Seconds to wait for an answer to DISCOVER: longer than a program waits, for Neurons that are far away."""

QUIET_S: Final = 0.25
"""Seconds without a REGISTER after which every host counts as announced."""

MAX_SETTLING_S: Final = 2.0
"""Seconds to wait at most for the REGISTER Signals of other hosts."""


_ARGUMENT: Final = re.compile(r"(?<![\w(])([a-z_]+)=(True|False)\b")


@attrs.frozen
class Bus:
    """The address of a bus. As a string it has no secrets.

    Attributes:
        url: The URL of the Synapse.
        namespace: The namespace on the bus.
        options: Further options of the Synapse, such as ``key_file``.
    """

    url: str = attrs.field(repr=redacted)
    namespace: str = "default"
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=lambda options: str(list(options)))

    def __str__(self) -> str:
        return redacted(self.url)


@asynccontextmanager
async def open_synapse(
    bus: Bus, close_s: Callable[[], float | None] = lambda: None
) -> AsyncIterator[Synapse]:
    """Connect a Synapse, and close it at the end.

    Args:
        bus: The bus.
        close_s: Returns the seconds that closing may take, when it begins; None for no limit.

    Raises:
        UserError: The Synapse rejects the URL or an option, or the bus cannot be reached.
        CosmoError: No plugin has the scheme, or the Synapse could not connect.
    """
    with Progress(f"connecting to {bus}"):
        synapse = await _connect(bus)
    try:
        yield synapse
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(close_s()):
                await synapse.close()


@asynccontextmanager
async def open_dendrite(bus: Bus) -> AsyncIterator[Dendrite]:
    """Run a Dendrite that hosts nothing, on a bus that other processes share.

    Raises:
        UserError: As `open_synapse` does, or the bus is private to this process.
        CosmoError: As `open_synapse` does.
    """
    check_shared(bus)
    # Also if the installed plugins are disabled: it also asks hosts to announce themselves again.
    extensions = {each.name: each for each in (*default_manager().extensions(), Questions)}
    async with (
        open_synapse(bus) as synapse,
        Dendrite(
            synapse=synapse,
            namespace=bus.namespace,
            discovery_s=DISCOVERY_S,
            extensions=extensions.values(),
        ) as dendrite,
    ):
        yield dendrite


def check_shared(bus: Bus) -> None:
    """Reject a bus that other processes cannot reach.

    Raises:
        UserError: The bus is ``memory://``.
    """
    if bus.url.partition(":")[0] == "memory":
        raise UserError(
            "memory:// ends with this process, so no other process can use it: give the --synapse that the "
            "other processes use, such as zmq://127.0.0.1:7071"
        )


async def wait_for_announcements(dendrite: Dendrite) -> None:
    """Wait until the other hosts have announced themselves to a Dendrite that has just started."""
    heard = asyncio.Event()
    async with await dendrite.watch(SignalType.REGISTER, lambda _: heard.set()):
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_SETTLING_S):
                while True:
                    heard.clear()
                    async with asyncio.timeout(QUIET_S):
                        await heard.wait()


async def _connect(bus: Bus) -> Synapse:
    try:
        return await connect_synapse(bus.url, **bus.options)
    except OSError as error:
        raise UserError(f"{bus} cannot be reached: {error}") from error
    except SynapseError as error:
        raise UserError(_as_options(str(error))) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"the URL or an option of {bus} is wrong: {_as_options(str(error))}") from error


def _as_options(text: str) -> str:
    """Return an error text with arguments of Python, such as ``insecure=True``, as options of the command."""
    return _ARGUMENT.sub(lambda found: f"--synapse-option {found[1]}={found[2].lower()}", text)
