"""A worker process: ``worker.py URL [id=neuron …]``, with the Neurons of `neurons`. It stops on SIGTERM.

``--ahead SECONDS`` sets its clock wrong; ``--limit COUNT`` is how many TASKs an Axon runs at once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

# A script has only its own folder on the path; the imports below start at the root of the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("neurons", nargs="+")
    parser.add_argument("--ahead", type=float, default=0.0)
    parser.add_argument("--limit", type=int, default=256)
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="log %(levelname)s %(message)s")
    set_clock(options.ahead)
    asyncio.run(serve(options))


def set_clock(ahead: float) -> None:
    """Make `time.time` wrong, before any module that uses it is imported."""
    real = time.time
    time.time = lambda: real() + ahead


async def serve(options: argparse.Namespace) -> None:
    """Host the Neurons until SIGTERM, then drain."""
    from cosmo_core import Axon, Dendrite, connect_synapse
    from tests.faults import neurons

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, neurons.release.set)
    synapse = await connect_synapse(options.url)
    dendrite = Dendrite(synapse=synapse, namespace="faults", role="worker")
    for named in options.neurons:
        neuron_id, _, kind = named.partition("=")
        dendrite.attach_axon(
            Axon(
                neuron_id=neuron_id,
                neuron_fn=neurons.NEURONS[kind],
                capabilities=[kind],
                max_concurrency=options.limit,
            )
        )
    async with dendrite:
        neurons.print_line("ready")
        await ended.wait()
    await synapse.close()
    neurons.print_line("stopped", dendrite.counters)


if __name__ == "__main__":
    main()
