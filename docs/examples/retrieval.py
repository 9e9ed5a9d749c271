"""Retrieval: a model answers from documents that are found in an Engram by meaning.

COSMO_ENDPOINT names the model's server, HuggingFace's router by default; HF_TOKEN is the key for it.
"""

import asyncio
import os
from zlib import crc32

from cosmo_context import PromptBuilder, Recalled, with_prompt
from cosmo_core import Axon, Dendrite, EngramBinding, Neuron, Signal, connect_synapse
from cosmo_engram_sqlite import SqliteEngram

DOCUMENTS = {
    "timetable": "The ferry leaves for the island at noon and at six.",
    "rules on board": "Dogs travel free of charge, on a lead.",
    "menu": "The kitchen serves soup until three.",
}


def embed(text: str) -> list[float]:
    """Stand in for an embedding model: count the groups of three characters in 256 buckets."""
    buckets = [crc32(text[at : at + 3].lower().encode()) % 256 for at in range(len(text) - 2)]
    return [float(buckets.count(number)) for number in range(256)]


async def main() -> None:
    model = Neuron(
        source="huggingface",
        endpoint=os.environ.get("COSMO_ENDPOINT", "https://router.huggingface.co"),
        model="meta-llama/Llama-3.1-8B-Instruct",
        system="Answer from what <knowledge> says, in one line, and name its source.",
    )
    near = Recalled("library", query=lambda ctx: {"vector": embed(ctx.state.get("task_input")), "limit": 2})
    guide = with_prompt(model, lambda ctx: PromptBuilder(ctx).add("task").add("knowledge"), recalls=[near])
    synapse = await connect_synapse("memory://")
    dendrite = Dendrite(synapse=synapse, namespace="demo")
    dendrite.attach_engram(SqliteEngram(engram_id="library"))
    dendrite.attach_axon(Axon(neuron_id="guide", neuron_fn=guide, engrams=[EngramBinding("library")]))

    @dendrite.on_recalled
    def name_sources(found: Signal) -> None:
        for hit in found.payload["hits"]:
            print(f"{hit['score']:.2f} {hit['entry']['source']}: {hit['entry']['text']}")

    async with dendrite:
        for source, text in DOCUMENTS.items():
            entry = {"source": source, "text": text, "embedding": embed(text)}
            await dendrite.imprint("library", op="upsert", merge_key=source, entry=entry)
        question = {"prompt": "When do ferries go to the islands?"}
        reply = await dendrite.dispatch_and_wait(neuron="guide", input=question)
        print(reply.raise_for_error().payload["output"]["response"])
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
