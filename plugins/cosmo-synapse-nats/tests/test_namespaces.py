"""Two namespaces on one server: no user can read, run, answer or delete anything of the other one's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from cosmo_core import Axon, Dendrite, SynapseAuthError, SynapseError, connect_synapse
from cosmo_synapse_nats.testing import NatsServer

README = Path(__file__).parents[1] / "README.md"
DURABLE = "&durable=true&ack_wait_s=1"


def permissions(prefix: str, *, durable: bool) -> str:
    """Return the permissions that the README lists."""
    blocks = README.read_text().split("```text\n")[1:]
    core, stored = (block.partition("```")[0] for block in blocks[:2])
    return "\n".join([core, stored] if durable else [core]).replace("shop", prefix)


def user(name: str, *, durable: bool) -> str:
    listed = permissions(name, durable=durable)
    publish = [line[5:].strip() for line in listed.splitlines() if line.startswith("pub ")]
    subscribe = [line[5:].strip() for line in listed.splitlines() if line.startswith("sub ")]
    rights = json.dumps({"publish": publish, "subscribe": subscribe})
    return f"{{ user: {name}, password: p, permissions: {rights} }}"


def users(durable: bool) -> str:
    each = [f"{user(name, durable=durable)}, {admin(name)}" for name in "ab"]
    return f"authorization {{ users: [ {', '.join(each)} ] }}"


def accounts(durable: bool) -> str:
    jetstream = "jetstream: enabled\n" if durable else ""
    each = [
        f"{name.upper()} {{\n{jetstream}users: [ {user(name, durable=durable)}, {admin(name)} ]\n}}"
        for name in "ab"
    ]
    return "accounts {\n" + "\n".join(each) + "\n}"


def admin(name: str) -> str:
    return f"{{ user: admin-{name}, password: p }}"


@asynccontextmanager
async def program(server: NatsServer, name: str, query: str) -> AsyncIterator[Dendrite]:
    """Host a Neuron ``echo`` as a user, in the namespace and with the prefix of the same name."""
    synapse = await connect_synapse(f"nats://{name}:p@127.0.0.1:{server.port}?prefix={name}{query}")
    dendrite = Dendrite(synapse=synapse, namespace=name)

    async def echo(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        return {**input, "by": name}

    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=echo))
    try:
        async with dendrite:
            yield dendrite
    finally:
        await synapse.close()


class Intruder:
    """A client of user ``a`` that tries to reach namespace ``b``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.read: list[tuple[str, bytes]] = []

    async def note(self, message: Any) -> None:
        self.read.append((message.subject, message.data))

    async def ask(self, subject: str, data: bytes = b"{}") -> dict[str, Any] | None:
        """Return the answer of the server; None if it does not answer."""
        try:
            return json.loads((await self.client.request(subject, data, timeout=0.3)).data)  # type: ignore[no-any-return]
        except (TimeoutError, nats.errors.Error):
            return None


@asynccontextmanager
async def intruder(server: NatsServer, denied: list[str]) -> AsyncIterator[Intruder]:
    async def on_error(error: Exception) -> None:
        denied.append(str(error))

    client = await nats.connect(
        server.url, user="a", password="p", inbox_prefix="_INBOX.a", error_cb=on_error
    )
    try:
        yield Intruder(client)
    finally:
        await client.close()


@pytest.mark.parametrize("config", [users, accounts])
@pytest.mark.parametrize("durable", [False, True])
async def test_the_documented_permissions_suffice(start: Any, config: Any, durable: bool) -> None:
    query = DURABLE if durable else ""
    server = start(jetstream=durable, config=config(durable))
    await create_streams(server, durable)
    async with program(server, "a", query) as one, program(server, "b", query) as other:
        for dendrite, name in ((one, "a"), (other, "b")):
            reply = await dendrite.dispatch_and_wait(neuron="echo", input={"n": 1}, timeout_s=5)
            assert reply.payload["output"] == {"n": 1, "by": name}


async def create_streams(server: NatsServer, durable: bool) -> None:
    """Let a user with all permissions connect once."""
    if not durable:
        return
    for name in "ab":
        synapse = await connect_synapse(
            f"nats://admin-{name}:p@127.0.0.1:{server.port}?prefix={name}{DURABLE}"
        )
        await synapse.close()


@pytest.mark.parametrize("config", [users, accounts])
@pytest.mark.parametrize("durable", [False, True])
async def test_a_user_cannot_read_what_another_namespace_sends(
    start: Any, config: Any, durable: bool
) -> None:
    query = DURABLE if durable else ""
    server = start(jetstream=durable, config=config(durable))
    await create_streams(server, durable)
    denied: list[str] = []
    async with program(server, "b", query) as other, intruder(server, denied) as spy:
        for subject in (">", "*.>", "cosmonapse.b.>", "_INBOX.>", "_INBOX.b.>", "_INBOX.*.>", "b-tasks.>"):
            await spy.client.subscribe(subject, cb=spy.note)
        for subject in ("b-answers.>", "b-dead.>", "$JS.>", "$JS.ACK.>", "cosmonapse.>"):
            await spy.client.subscribe(subject, cb=spy.note)
        await spy.client.flush()
        for _ in range(5):
            await other.dispatch_and_wait(neuron="echo", input={"secret": "s"}, timeout_s=5)
        await spy.client.flush()
        assert spy.read == []
        if config is users:
            assert len(denied) == 12


@pytest.mark.parametrize("config", [users, accounts])
async def test_a_user_cannot_use_or_delete_the_streams_of_another_namespace(start: Any, config: Any) -> None:
    server = start(jetstream=True, config=config(True))
    await create_streams(server, True)
    denied: list[str] = []
    async with program(server, "b", DURABLE) as other, intruder(server, denied) as spy:
        await other.dispatch_and_wait(neuron="echo", input={"secret": "s"}, timeout_s=5)
        copied: dict[str, Any] = {"name": "a-copy", "subjects": ["copy"], "sources": [{"name": "b-answers"}]}
        consumer: dict[str, Any] = {"stream_name": "b-answers", "config": {"name": "c", "ack_policy": "none"}}
        requests: list[tuple[str, dict[str, Any]]] = [
            (f"$JS.API.{api}.{stream}", {"seq": 1} if api == "STREAM.MSG.GET" else {})
            for stream in ("b-tasks", "b-answers", "b-dead")
            for api in ("STREAM.DELETE", "STREAM.PURGE", "STREAM.INFO", "CONSUMER.LIST", "STREAM.MSG.GET")
        ]
        requests += [
            ("$JS.API.STREAM.CREATE.a-copy", copied),
            ("$JS.API.STREAM.UPDATE.a-tasks", {**copied, "name": "a-tasks"}),
            ("$JS.API.CONSUMER.CREATE.b-answers.c", consumer),
        ]
        asking = (spy.ask(subject, json.dumps(request).encode()) for subject, request in requests)
        for answer in await asyncio.gather(*asking):
            # There is no answer to a request that is not allowed, and no such stream in another account.
            assert answer is None or "error" in answer
        reply = await other.dispatch_and_wait(neuron="echo", input={"n": 2}, timeout_s=5)
        assert reply.payload["output"] == {"n": 2, "by": "b"}


@pytest.mark.parametrize("config", [users, accounts])
@pytest.mark.parametrize("durable", [False, True])
async def test_a_user_cannot_run_or_answer_tasks_of_another_namespace(
    start: Any, config: Any, durable: bool, recorder: Any
) -> None:
    query = DURABLE if durable else ""
    server = start(jetstream=durable, config=config(durable))
    await create_streams(server, durable)
    denied: list[str] = []
    ran = recorder()
    async with program(server, "b", query) as other, intruder(server, denied) as spy:
        link = other._link
        synapse = link._synapse
        await synapse.subscribe("cosmonapse.b.probe", ran, queue_group="g")
        await synapse.subscribe("cosmonapse.b.watch", ran)
        if durable:
            await synapse.subscribe_answers("cosmonapse.b.answer", ran)  # type: ignore[attr-defined]
        for subject in ("probe", "watch", "answer"):
            for prefix in ("", "b-tasks.", "b-answers."):
                await spy.client.publish(f"{prefix}cosmonapse.b.{subject}", b"forged")
                # The server must not send it there on behalf of this user, either.
                await forward(spy, f"{prefix}cosmonapse.b.{subject}", durable=durable)
        await spy.client.flush()
        await asyncio.sleep(0.3)
        # What is left are answers of the server to requests with a forged reply address: no Signal.
        assert b"forged" not in ran.frames
        assert all(frame == b"" or b'"type":"io.nats' in frame for frame in ran.frames)
        count = len(ran.frames)
        await synapse.publish("cosmonapse.b.probe", b"true", undelivered=print, message_id="m")
        assert (await ran.until(count + 1))[count:] == [b"true"]


async def forward(spy: Intruder, target: str, *, durable: bool) -> None:
    """Store a frame in a stream of ``a``, and let the server deliver it to ``target``."""
    if not durable:
        return
    headers = [{"Nats-Expected-Stream": "a-tasks"}, {"Nats-Expected-Stream ": "b-tasks"}, None]
    config = {"name": "c", "durable_name": "c", "ack_policy": "explicit"}
    create = json.dumps({"stream_name": "a-tasks", "config": config}).encode()
    await spy.ask("$JS.API.CONSUMER.DURABLE.CREATE.a-tasks.c", create)
    for header in headers:
        await spy.client.publish(f"a-tasks.{target}", b"forged", headers=header)
    batch = b'{"batch": 3, "no_wait": true}'
    await spy.client.publish("$JS.API.CONSUMER.MSG.NEXT.a-tasks.c", batch, reply=target)
    push = {**config, "name": "p", "durable_name": "p", "deliver_subject": target}
    request = json.dumps({"stream_name": "a-tasks", "config": push}).encode()
    await spy.ask("$JS.API.CONSUMER.DURABLE.CREATE.a-tasks.p", request)
    await spy.client.publish("$JS.API.STREAM.MSG.GET.a-tasks", b'{"seq": 1}', reply=target)


async def test_the_error_for_missing_permissions_names_them(start: Any) -> None:
    server = start(jetstream=True, config=f"authorization {{ users: [ {user('a', durable=False)} ] }}")
    with pytest.raises(SynapseAuthError, match=r"does not allow this user to publish on \$JS\.API\.STREAM"):
        await connect_synapse(f"nats://a:p@127.0.0.1:{server.port}?prefix=a{DURABLE}")


async def test_the_error_for_a_missing_stream_says_who_creates_it(start: Any) -> None:
    server = start(jetstream=True, config=users(True))
    with pytest.raises(SynapseAuthError, match="let a user with all permissions connect once"):
        await connect_synapse(f"nats://a:p@127.0.0.1:{server.port}?prefix=a{DURABLE}")


async def test_storing_without_permission_raises_at_once(start: Any) -> None:
    server = start(jetstream=True, config=users(True))
    await create_streams(server, True)
    synapse = await connect_synapse(f"nats://a:p@127.0.0.1:{server.port}?prefix=a{DURABLE}")
    with pytest.raises(SynapseError, match=r"does not allow this user to publish on a-answers\.elsewhere"):
        await synapse.store_answer("elsewhere", b"", "id")  # type: ignore[attr-defined]
    await synapse.close()
