"""The order in which a Dendrite starts and stops its parts, step by step."""

from __future__ import annotations

import re
from typing import Any

from cosmo_core import Axon, Dendrite, FrameHandler, SignalType, Subscription
from cosmo_core.contracts.engram import Engram
from cosmo_core.plugins import PluginManager, hookimpl
from cosmo_engram_sqlite import SqliteEngram
from cosmo_synapse_memory import MemorySynapse

INBOX = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")


class RecordingSynapse(MemorySynapse):
    """A memory Synapse that records what is subscribed, published and unsubscribed."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self._steps = steps

    def _record(self, what: str, subject: str) -> None:
        self._steps.append(f"{what} {INBOX.sub('ID', subject).removeprefix('cosmonapse.order.')}")

    async def publish(self, subject: str, frame: bytes, **options: Any) -> None:
        # Answers to its own DISCOVER are sent in the background, at no fixed moment.
        if ".REGISTER.inbox." not in subject:
            self._record("publish", subject + ("(draining)" if b'"draining"' in frame else ""))
        await super().publish(subject, frame, **options)

    async def subscribe(self, pattern: str, handler: FrameHandler, *, queue_group: str | None = None) -> Any:
        self._record("subscribe", pattern)
        inner = await super().subscribe(pattern, handler, queue_group=queue_group)
        return RecordingSubscription(inner, lambda: self._record("unsubscribe", pattern))


class RecordingSubscription:
    def __init__(self, inner: Subscription, ended: Any) -> None:
        self._inner = inner
        self._ended = ended

    @property
    def dropped(self) -> int:
        return self._inner.dropped

    async def unsubscribe(self) -> None:
        self._ended()
        await self._inner.unsubscribe()


class RecordingEngram(SqliteEngram):
    def __init__(self, steps: list[str]) -> None:
        super().__init__(engram_id="notes", engram_kind="context")
        self._steps = steps

    async def connect(self) -> None:
        self._steps.append("engram connect")
        await super().connect()

    async def close(self) -> None:
        self._steps.append("engram close")
        await super().close()


class RecordingNeuron:
    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    async def __call__(self, input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
        return input

    async def aclose(self) -> None:
        self._steps.append("neuron aclose")


def recording_hooks(steps: list[str]) -> PluginManager:
    class Hooks:
        @hookimpl
        def cosmo_dendrite_started(self) -> None:
            steps.append("hook started")

        @hookimpl
        def cosmo_dendrite_stopping(self) -> None:
            steps.append("hook stopping")

        @hookimpl
        def cosmo_signal_middleware(self, direction: str) -> None:
            steps.append(f"hook middleware {direction}")

    plugins = PluginManager()
    plugins.register(Hooks(), name="recording")
    return plugins


START = """\
hook middleware outbound
hook middleware inbound
subscribe *.inbox.ID
subscribe PLAN
subscribe PLAN.>
subscribe STOP
subscribe TASK
engram connect
subscribe FINAL
subscribe FINAL.>
subscribe RECALL.engram.notes
subscribe IMPRINT.engram.notes
subscribe RECALL
subscribe IMPRINT
subscribe STOP.neuron.echo
subscribe TASK.neuron.echo
subscribe TASK_OFFER
subscribe TASK_AWARDED
subscribe TASK_DECLINED
subscribe REGISTER
subscribe HEARTBEAT
subscribe DEREGISTER
subscribe DISCOVER
publish REGISTER
publish REGISTER
publish DISCOVER
hook started
""".splitlines()

STOP = """\
hook stopping
unsubscribe TASK_OFFER
unsubscribe TASK_AWARDED
unsubscribe TASK_DECLINED
publish HEARTBEAT(draining)
publish HEARTBEAT(draining)
unsubscribe TASK
unsubscribe TASK.neuron.echo
unsubscribe FINAL
unsubscribe FINAL.>
unsubscribe RECALL.engram.notes
unsubscribe IMPRINT.engram.notes
unsubscribe RECALL
unsubscribe IMPRINT
engram close
publish DEREGISTER
publish DEREGISTER
unsubscribe DISCOVER
unsubscribe DEREGISTER
unsubscribe HEARTBEAT
unsubscribe REGISTER
unsubscribe STOP.neuron.echo
unsubscribe STOP
unsubscribe PLAN.>
unsubscribe PLAN
unsubscribe *.inbox.ID
neuron aclose
""".splitlines()


async def test_dendrite_starts_and_stops_parts_in_fixed_order() -> None:
    steps: list[str] = []
    synapse = RecordingSynapse(steps)
    await synapse.connect()
    dendrite = Dendrite(synapse=synapse, namespace="order", plugins=recording_hooks(steps))
    dendrite.attach_axon(Axon(neuron_id="echo", neuron_fn=RecordingNeuron(steps)))
    engram: Engram = RecordingEngram(steps)
    await dendrite.attach_engram(engram)
    dendrite.on(SignalType.PLAN)(lambda signal: None)

    async with dendrite:
        assert steps == START
        steps.clear()
    assert steps == STOP
    await synapse.close()
