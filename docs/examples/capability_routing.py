"""Dispatch by capability: a TASK lists capabilities, and the least busy Neuron with all of them gets it."""

import asyncio
from typing import Any

from cosmo_core import Axon, Dendrite, NeuronFn, NoRouteError, connect_synapse

TRANSLATORS = {
    "anna": ["french", "german"],
    "ben": ["german"],
    "chloe": ["french", "legal"],
}


def translator(name: str, begin: asyncio.Event) -> NeuronFn:
    async def translate(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
        await begin.wait()  # keeps the translators busy meanwhile
        return {"text": f"{input['text']}, translated by {name}"}

    return translate


async def main() -> None:
    synapse = await connect_synapse("memory://")
    begin = asyncio.Event()
    async with Dendrite(synapse=synapse, namespace="demo") as dendrite:
        for name, languages in TRANSLATORS.items():
            await dendrite.add_axon(
                Axon(neuron_id=name, neuron_fn=translator(name, begin), capabilities=languages)
            )
        print("french:", *(record.neuron_id for record in dendrite.find_neurons("french")))

        pathways = []
        for text, needed in [
            ("contract 1", ["french", "legal"]),
            ("contract 2", ["french", "legal"]),
            ("email 1", ["french"]),
            ("email 2", ["french"]),
        ]:
            pathways.append(await dendrite.dispatch(capabilities=needed, input={"text": text}))
            print(f"{text} ({', '.join(needed)}) goes to {pathways[-1].neuron}")

        begin.set()
        for pathway in pathways:
            reply = await pathway.wait(timeout_s=5)
            print(reply.raise_for_error().payload["output"]["text"])

        try:
            await dendrite.dispatch(capabilities=["latin"], input={"text": "inscription"})
        except NoRouteError as error:
            print("refused:", error)
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
