"""The smallest complete program: one Neuron with a language model, one TASK, one reply.

COSMO_ENDPOINT is the URL of the server, by default HuggingFace's router; HF_TOKEN is its key.
"""

import asyncio
import os

from cosmonapse import Axon, Dendrite, MemorySynapse, Neuron

greeter = Neuron(
    source="huggingface",
    endpoint=os.environ.get("COSMO_ENDPOINT", "https://router.huggingface.co"),
    model="meta-llama/Llama-3.1-8B-Instruct",
    api_key=os.environ.get("HF_TOKEN"),
    use_chat_api=True,
    max_new_tokens=128,
    temperature=0.7,
)


async def main() -> None:
    synapse = MemorySynapse()
    await synapse.connect()
    try:
        axon = Axon(
            neuron_id="greeter",
            neuron_fn=greeter,
            capabilities=["text-generation", "chat", "greet"],
        )
        worker = Dendrite(synapse=synapse, namespace="demo", role="worker")
        worker.attach_axon(axon)

        orchestrator = Dendrite(synapse=synapse, namespace="demo")

        async with worker, orchestrator:
            reply = await orchestrator.dispatch_and_wait(
                neuron="greeter",
                input={"prompt": "Say hello to a project called Cosmonapse in one line."},
                timeout_s=30.0,
            )
            reply.raise_for_error()
            print(f"[{reply.type.value}] {reply.payload['output']['response']}")
    finally:
        await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
