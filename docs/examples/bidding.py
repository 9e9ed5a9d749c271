"""Neurons that bid for work: the best bid is awarded, and if its Neuron fails, the next best.

Each printer is a separate Dendrite, which sets its own price and confidence. The buyer observes the trace and
prints what happens.
"""

import asyncio
from typing import Any

from cosmo_core import Axon, Bid, Dendrite, NeuronError, Signal, SignalType, Synapse, connect_synapse
from cosmo_core.protocol.ids import new_trace_id

QUOTES = {"hasty": (2, 0.6), "steady": (4, 0.9), "lavish": (9, 0.99)}


def best_value(bids: list[Bid]) -> Bid:
    return max(bids, key=lambda bid: (bid.confidence or 0.0) / bid.cost)


def printer(synapse: Synapse, name: str, cost: float, confidence: float) -> Dendrite:
    async def press(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        if name == "hasty":
            raise NeuronError("out of paper")
        return {"printed": f"{input['copies']} copies by {name}"}

    dendrite = Dendrite(synapse=synapse, role="worker")
    dendrite.attach_axon(Axon(neuron_id=name, neuron_fn=press, capabilities=["print"]))

    @dendrite.on_task_offer
    async def quote(offer: Signal) -> None:
        await dendrite.bid(offer, cost=cost, confidence=confidence)

    return dendrite


async def main() -> None:
    synapse = await connect_synapse("memory://")
    printers = [printer(synapse, name, *terms) for name, terms in QUOTES.items()]
    for dendrite in printers:
        await dendrite.start()
    async with Dendrite(synapse=synapse) as buyer:
        trace_id = new_trace_id()
        async with await buyer.observe_pathway(trace_id) as trace:
            pathway = await buyer.dispatch_offer(
                capabilities=["print"], input={"copies": 100}, select=best_value, trace_id=trace_id
            )
            await pathway.wait(timeout_s=5)
            async for signal in trace:
                neuron = signal.directed.id if signal.directed else "everybody"
                print(f"{signal.type:13} {neuron:9} {signal.payload}")
                if signal.type is SignalType.TASK_DECLINED:
                    break
    for dendrite in printers:
        await dendrite.stop()
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
