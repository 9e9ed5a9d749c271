"""Hosting of Axons and Engrams until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import click

from cosmo_core import Axon, Dendrite, Engram, Synapse
from cosmo_core.arguments import satisfies
from cosmo_core.contracts.options import Role
from cosmo_core.contracts.synapse import FailureReporter
from cosmo_core_cli.bus import Bus, open_synapse
from cosmo_core_cli.errors import UserError, print_error
from cosmo_core_cli.progress import Progress
from cosmo_core_cli.run.targets import Target, axons_from, check_distinct, load_engram

TERMINATION_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

END_MARGIN_S: Final = 0.9
"""Seconds after the grace period in which the Dendrite has stopped and the Synapse is closed."""

MIN_CLOSE_S: Final = 0.1
"""Seconds that the Synapse has to close, even if the Dendrite took longer, and remaining tasks to end."""


@attrs.frozen
class Components:
    """The Axons and Engrams that a process hosts."""

    axons: Sequence[Axon]
    engrams: Sequence[Engram]

    @classmethod
    def load(cls, targets: Sequence[Target], engrams: Sequence[str]) -> Components:
        """Import the targets, and make the Engrams.

        Raises:
            UserError: A module cannot be imported, or does not have the named object.
            CosmoError: An object cannot be made into an Axon or an Engram.
        """
        axons = [axon for target in targets for axon in axons_from(target.load(), target.name)]
        check_distinct(axons)
        return cls(axons, [load_engram(text) for text in engrams])

    @property
    def role(self) -> Role:
        """The role of the Dendrite that hosts them: only an orchestrator may send TASKs."""
        return "orchestrator" if any(axon.work_keywords for axon in self.axons) else "worker"

    def attach_to(self, dendrite: Dendrite) -> None:
        """Attach all components to a Dendrite that has not started.

        Raises:
            UserError: Two Engrams have the same id.
            CosmoError: The Neuron wrapper of a plugin is broken.
        """
        for axon in self.axons:
            dendrite.attach_axon(axon)
        try:
            for engram in self.engrams:
                dendrite.attach_engram(engram)
        except ValueError as error:
            raise UserError(str(error)) from error


async def host(bus: Bus, components: Components, grace_s: float, announce: Callable[[], None]) -> None:
    """Host components until SIGTERM or Ctrl-C, then drain.

    Args:
        bus: The bus.
        components: The Axons and Engrams.
        grace_s: Seconds that running TASKs may take to finish.
        announce: Called when the components are reachable.

    Raises:
        UserError: As `open_synapse` and `Components.attach_to` do.
        CosmoError: The Dendrite could not start, or the connection to the bus has ended for good.
    """
    now, ends = asyncio.get_running_loop().time, float("inf")
    async with open_synapse(bus, lambda: max(MIN_CLOSE_S, ends - now())) as synapse:
        dendrite = Dendrite(synapse=synapse, namespace=bus.namespace, role=components.role, grace_s=grace_s)
        components.attach_to(dendrite)
        with termination_signals() as terminated:
            # In tasks, so that a signal also ends a start that waits for the bus.
            starting = asyncio.create_task(dendrite.start())
            terminating = asyncio.create_task(terminated.wait())
            try:
                with Progress("starting"):
                    await asyncio.wait([starting, terminating], return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    announce()
                    await _until(terminated, synapse)
                click.echo(f"shutting down; running TASKs may finish within {grace_s:g} s", err=True)
            finally:
                ends = now() + grace_s + END_MARGIN_S
                terminating.cancel()
                starting.cancel()
                await asyncio.wait([starting, terminating])
                await dendrite.stop("the process ends")


def run_until_ended(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine as `asyncio.run` does, but do not wait for tasks that ignore their cancellation.

    Such a task, which a Neuron may be, would keep the process forever.
    """
    runner = asyncio.Runner()
    try:
        runner.run(work)
    finally:
        if left := runner.get_loop().run_until_complete(_cancelled()):
            # A loop that is not closed ends with the process.
            print_error(f"tasks that ignore their cancellation are abandoned: {left}")
        else:
            runner.close()


async def _cancelled() -> int:
    """Cancel all other tasks, and return how many go on."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    return len((await asyncio.wait(others, timeout=MIN_CLOSE_S))[1]) if others else 0


async def _until(terminated: asyncio.Event, synapse: Synapse) -> None:
    """Wait for the event; raise if the connection to the bus ends for good before."""
    if not satisfies(synapse, FailureReporter):
        await terminated.wait()
        return
    ended = asyncio.ensure_future(terminated.wait())
    failed = asyncio.ensure_future(synapse.wait_failed())
    try:
        await asyncio.wait({ended, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result()
    finally:
        ended.cancel()
        failed.cancel()


@contextmanager
def termination_signals() -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGTERM or Ctrl-C sets; a second one has its default effect."""
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()

    def restore() -> None:
        for number in TERMINATION_SIGNALS:
            loop.remove_signal_handler(number)

    def terminate() -> None:
        restore()
        terminated.set()

    for number in TERMINATION_SIGNALS:
        loop.add_signal_handler(number, terminate)
    try:
        yield terminated
    finally:
        restore()
