"""A Neuron that asks a human for information, and then for permission to act.

A question ends the TASK. The response runs the Neuron again on the same trace, with the same input and the
answers added. Nothing waits in between, so a human may take an hour. Without an answer nothing is allowed.
"""

import asyncio
from typing import Any

from cosmo_core import Axon, Dendrite, Signal, SignalType, ask_permission, clarify, connect_synapse

PRICES = {"monday": 40, "tuesday": 55}


async def booker(input: dict[str, Any], context: list[Any]) -> Any:
    answers = [entry["answer"] for entry in input.get("clarifications", [])]
    day = answers[-1].lower() if answers else None
    if day not in PRICES:
        return clarify(f"Which day shall it be, {' or '.join(PRICES)}?", context={"default": "monday"})
    if not input.get("permissions"):
        return ask_permission("pay", scope={"euros": PRICES[day]}, reason=f"{input['boat']} on {day}")
    if not input["permissions"][-1]["granted"]:
        return {"response": "Nothing is booked, and nothing is paid."}
    return {"response": f"{input['boat']} is booked for {day}, {PRICES[day]} euros are paid."}


async def ask_human(question: str, default: str) -> str:
    try:
        # In a thread, so that the event loop continues while the human thinks.
        return await asyncio.to_thread(input, f"{question} [{default}] ") or default
    except EOFError:
        print(default)
        return default


async def answer(dendrite: Dendrite, question: Signal) -> Signal:
    asked = question.payload
    if question.type is SignalType.CLARIFICATION:
        told = await ask_human(asked["question"], asked["context"]["default"])
        pathway = await dendrite.respond_to_clarification(question, told)
    else:
        told = await ask_human(f"May I {asked['action']} {asked['scope']} for {asked['reason']}?", "no")
        pathway = await dendrite.respond_to_permission(question, granted=told.lower() in {"y", "yes"})
    return await pathway.wait(timeout_s=5)


async def main() -> None:
    synapse = await connect_synapse("memory://")
    async with Dendrite(synapse=synapse, namespace="demo") as dendrite:
        await dendrite.add_axon(Axon(neuron_id="booker", neuron_fn=booker))
        reply = await dendrite.dispatch_and_wait(neuron="booker", input={"boat": "the blue boat"})
        while reply.type in {SignalType.CLARIFICATION, SignalType.PERMISSION}:
            reply = await answer(dendrite, reply)
        print(reply.raise_for_error().payload["output"]["response"])
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
