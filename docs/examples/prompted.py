"""A chat whose prompt is composed for every TASK from the conversation, known facts, and the weather.

COSMO_ENDPOINT names the server, HuggingFace's router by default; HF_TOKEN is the key for it.
"""

import asyncio
import os
from typing import Any

from cosmo_context import Context, Neuron, PromptBuilder, data, with_prompt
from cosmo_core import Axon, Dendrite, connect_synapse
from cosmo_core import Neuron as LlmNeuron
from cosmo_core.protocol.ids import new_trace_id


class WeatherNeuron(Neuron):
    def __init__(self) -> None:
        super().__init__("weather", priority=70)

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        weather = ctx.state.get("weather")
        return f"<weather>Current weather: {data(weather)}</weather>" if weather else ""


def compose(ctx: Context) -> PromptBuilder:
    return PromptBuilder(ctx).add("task").add("history").add("fact").add_neuron(WeatherNeuron())


async def main() -> None:
    model = LlmNeuron(
        source="huggingface",
        endpoint=os.environ.get("COSMO_ENDPOINT", "https://router.huggingface.co"),
        model="meta-llama/Llama-3.1-8B-Instruct",
        api_key=os.environ.get("HF_TOKEN"),
        max_new_tokens=128,
    )
    known = Context("assistant", state={"facts": ["The user lives in Lisbon."]})

    synapse = await connect_synapse("memory://")
    dendrite = Dendrite(synapse=synapse, namespace="demo")
    assistant = with_prompt(model, compose, context=known)
    dendrite.attach_axon(Axon(neuron_id="assistant", neuron_fn=assistant, capabilities=["chat"]))
    async with dendrite:
        trace_id = new_trace_id()
        for prompt in ("Do I need an umbrella?", "And what did I ask you before?"):
            reply = await dendrite.dispatch_and_wait(
                capabilities=["chat"],
                input={"prompt": prompt, "weather": "rain, 14 °C"},
                trace_id=trace_id,
                timeout_s=30.0,
            )
            print(f"{prompt} {reply.raise_for_error().payload['output']['response']}")
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
