"""Proves that no durable TASK is lost or unanswered on NATS, and prints a table.

``python tests/soak/durable_nats.py [--tasks 20000] [--server-kills 50] [--worker-kills 50]`` kills one server
and its workers with SIGKILL while a caller sends TASKs. With ``--cluster`` there are three servers with three
replicas: the leader of the stream is killed, all are restarted in turn, and two of three are down for a
while.
The exit status is 1 if a TASK did not end in its own output.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import nats

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cosmo_core import CosmoError, Dendrite, SignalType, connect_synapse
from cosmo_synapse_nats.testing import NatsServer
from tests.faults.processes import FOLDER, Child

WORKERS: Final = 3
OPEN: Final = 40
"""Calls that are open at a time."""
ANSWER_S: Final = 90.0
"""Seconds that a caller waits for an answer."""
DOWN_S: Final = 0.3
"""Seconds that a killed server is down."""
STREAM: Final = "cosmo-tasks"


@attrs.define
class Outcome:
    """What happened.

    Attributes:
        tasks: How many TASKs were sent.
        ended: How many TASKs ended in each way.
        disturbances: How many disturbances of each kind there were.
        seconds: How long it took.
        slowest_s: How long the slowest answer took.
    """

    tasks: int
    ended: Counter[str] = attrs.field(factory=Counter)
    disturbances: Counter[str] = attrs.field(factory=Counter)
    seconds: float = 0.0
    slowest_s: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether every TASK ended in its own output."""
        return self.ended == {"answered": self.tasks}

    def rows(self) -> list[tuple[str, str]]:
        """Return the rows of the table."""
        return [
            ("TASKs", str(self.tasks)),
            *((f"ended: {way}", str(count)) for way, count in sorted(self.ended.items())),
            *((f"disturbed: {kind}", str(count)) for kind, count in sorted(self.disturbances.items())),
            ("seconds", f"{self.seconds:.0f}"),
            ("slowest answer", f"{self.slowest_s:.1f} s"),
        ]


class Proof:
    """A caller, three workers, and disturbances at even distances over the TASKs.

    Args:
        servers: The servers; they run.
        tasks: How many TASKs to send.
    """

    def __init__(self, servers: Sequence[NatsServer], tasks: int) -> None:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        self.servers = servers
        self.url = f"nats://{hosts}?durable=true&replicas={len(servers)}"
        self.outcome = Outcome(tasks)
        self._workers: list[Child] = []
        self._next_worker = 0
        # How many calls may be made before the disturbance that is due has ended.
        self._last_call = 0
        self._progress = asyncio.Condition()

    async def run(self, disturb: Sequence[Callable[[], Awaitable[str]]]) -> Outcome:
        """Send the TASKs, and make one disturbance after the other meanwhile."""
        async with contextlib.AsyncExitStack() as stack:
            synapse = await connect_synapse(self.url)
            stack.push_async_callback(synapse.close)
            caller = await stack.enter_async_context(Dendrite(synapse=synapse, namespace="faults"))
            stack.push_async_callback(self._kill_workers)
            self._workers = [await self._start_worker() for _ in range(WORKERS)]
            begun = time.monotonic()
            numbers = iter(range(self.outcome.tasks))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._disturb(disturb))
                for _ in range(OPEN):
                    group.create_task(self._call(caller, numbers))
            self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    async def _call(self, caller: Dendrite, numbers: Any) -> None:
        for number in numbers:
            async with self._progress:
                await self._progress.wait_for(partial(self._may_call, number))
            begun = time.monotonic()
            self.outcome.ended[await _ending(caller, number)] += 1
            async with self._progress:
                self._progress.notify_all()
            self.outcome.slowest_s = max(self.outcome.slowest_s, time.monotonic() - begun)

    async def _disturb(self, disturb: Sequence[Callable[[], Awaitable[str]]]) -> None:
        distance = self.outcome.tasks / (len(disturb) + 1)
        for count, disturbance in enumerate(disturb, 1):
            async with self._progress:
                self._last_call = int(distance * (count + 1))
                self._progress.notify_all()
                await self._progress.wait_for(partial(self._have_ended, distance * count))
            self.outcome.disturbances[await disturbance()] += 1
        async with self._progress:
            self._last_call = self.outcome.tasks
            self._progress.notify_all()

    def _may_call(self, number: int) -> bool:
        return number < self._last_call

    def _have_ended(self, tasks: float) -> bool:
        return self.outcome.ended.total() >= tasks

    async def _start_worker(self) -> Child:
        child = await Child.start(str(FOLDER / "worker.py"), self.url, "brief=brief")
        await child.wait_for_line("^ready$", within_s=60)
        return child

    async def _kill_workers(self) -> None:
        for worker in self._workers:
            await worker.kill()

    # --- disturbances -------------------------------------------------------------------------------

    async def kill_worker(self) -> str:
        """Kill a worker; another takes its place."""
        index, self._next_worker = self._next_worker, (self._next_worker + 1) % WORKERS
        await self._workers[index].kill()
        self._workers[index] = await self._start_worker()
        return "kill -9 of a worker"

    async def kill_server(self) -> str:
        """Kill the server; start it again."""
        await self._bounce(self.servers[0].kill, self.servers[0])
        return "kill -9 of the server"

    async def kill_leader(self) -> str:
        """Kill the server that leads the stream of TASKs; start it again."""
        leader = await self._leader()
        await self._bounce(leader.kill, leader)
        return "kill -9 of the stream's leader"

    async def restart_all(self) -> str:
        """Stop one server after the other cleanly, and start it again."""
        for server in self.servers:
            await self._bounce(server.terminate, server)
            await self._leader()
        return "rolling restart"

    async def stop_two(self) -> str:
        """Kill two servers of three for eight seconds."""
        for server in self.servers[1:]:
            server.kill()
        await asyncio.sleep(8)
        for server in self.servers[1:]:
            await asyncio.to_thread(server.restart)
        await self._leader()
        return "eight seconds without quorum"

    async def _bounce(self, stop: Callable[[], None], server: NatsServer) -> None:
        await asyncio.to_thread(stop)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(server.restart)

    async def _leader(self) -> NatsServer:
        """Return the server that leads the stream; wait until there is one and all replicas are current."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Exception):
                    if (leader := await _leader_of(self.servers)) is not None:
                        return leader
                await asyncio.sleep(0.2)


async def _ending(caller: Dendrite, number: int) -> str:
    try:
        reply = await caller.dispatch_and_wait(neuron="brief", input={"number": number}, timeout_s=ANSWER_S)
    except TimeoutError:
        return "no answer in time"
    except CosmoError as error:
        return f"not sent: {error}"
    if reply.type is not SignalType.AGENT_OUTPUT:
        return f"{reply.payload.get('code')}: {reply.payload.get('message')}"
    return "answered" if reply.payload["output"]["number"] == number else "the answer of another TASK"


async def _leader_of(servers: Sequence[NatsServer]) -> NatsServer | None:
    client = await nats.connect(
        [server.url for server in servers], connect_timeout=1, max_reconnect_attempts=1
    )
    try:
        info = await client.request(f"$JS.API.STREAM.INFO.{STREAM}", timeout=2)
    finally:
        await client.close()
    cluster = json.loads(info.data)["cluster"]
    if not all(replica.get("current") for replica in cluster.get("replicas", [])):
        return None
    return next(
        (server for server, name in zip(servers, "abc", strict=True) if name == cluster.get("leader")), None
    )


@contextlib.asynccontextmanager
async def servers_for(count: int) -> AsyncIterator[Sequence[NatsServer]]:
    """Run one server, or a cluster of three."""
    with contextlib.ExitStack() as stack:
        if count == 1:
            yield [await asyncio.to_thread(stack.enter_context, NatsServer(jetstream=True))]
            return
        ports = _free_ports(2 * count)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[count:])
        servers = [
            NatsServer(
                port=ports[index],
                jetstream=True,
                config=f"server_name: {'abc'[index]}\n"
                f"cluster {{ name: proof, listen: 127.0.0.1:{ports[count + index]}, routes: [{routes}] }}",
            )
            for index in range(count)
        ]
        await asyncio.gather(*(asyncio.to_thread(stack.enter_context, server) for server in servers))
        await _wait_for_jetstream(servers)
        yield servers


async def _wait_for_jetstream(servers: Sequence[NatsServer]) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Exception):
                synapse = await connect_synapse(f"{servers[0].url}?durable=true&replicas={len(servers)}")
                await synapse.close()
                return
            await asyncio.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def prove(*, tasks: int, server_kills: int, worker_kills: int) -> Outcome:
    """Prove it on one server."""
    async with servers_for(1) as servers:
        proof = Proof(servers, tasks)
        disturb: list[tuple[float, Callable[[], Awaitable[str]]]] = [
            *((index / server_kills, proof.kill_server) for index in range(server_kills)),
            *(((index + 0.5) / worker_kills, proof.kill_worker) for index in range(worker_kills)),
        ]
        return await proof.run([each for _, each in sorted(disturb, key=lambda entry: entry[0])])


async def prove_cluster(*, tasks: int, leader_kills: int, restarts: int, outages: int) -> Outcome:
    """Prove it on three servers with three replicas."""
    async with servers_for(3) as servers:
        proof = Proof(servers, tasks)
        disturb = (
            [proof.kill_leader] * leader_kills + [proof.restart_all] * restarts + [proof.stop_two] * outages
        )
        return await proof.run(disturb)


def main() -> int:
    """Parse the arguments, prove, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--server-kills", type=int, default=50)
    parser.add_argument("--worker-kills", type=int, default=50)
    parser.add_argument("--cluster", action="store_true", help="three servers with three replicas")
    parser.add_argument("--leader-kills", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=3, help="rolling restarts of a cluster")
    parser.add_argument("--outages", type=int, default=2, help="times of eight seconds without quorum")
    options = parser.parse_args()
    if options.cluster:
        proving = prove_cluster(
            tasks=options.tasks,
            leader_kills=options.leader_kills,
            restarts=options.restarts,
            outages=options.outages,
        )
    else:
        proving = prove(
            tasks=options.tasks, server_kills=options.server_kills, worker_kills=options.worker_kills
        )
    outcome = asyncio.run(proving)
    for title, value in outcome.rows():
        print(f"{title:<60}{value:>10}", flush=True)  # noqa: T201 - this is a command
    return int(not outcome.kept)


if __name__ == "__main__":
    sys.exit(main())
