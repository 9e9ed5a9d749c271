"""A web app at the edge: it receives a request over HTTP, and a Neuron on the bus answers it.

Flask's views run in threads, the Dendrite in an event loop; `run_coroutine_threadsafe` connects them. Here
Flask's test client makes the requests, in this process. In production a WSGI server serves the same app.
"""

import asyncio
from typing import Any

from flask import Flask, request

from cosmo_core import Axon, Dendrite, NoRouteError, SignalType, connect_synapse


def edge(dendrite: Dendrite, loop: asyncio.AbstractEventLoop) -> Flask:
    app = Flask("edge")

    @app.post("/ask/<capability>")
    def ask(capability: str) -> tuple[dict[str, Any], int]:
        asked = dendrite.dispatch_and_wait(capabilities=[capability], input=request.get_json(), timeout_s=10)
        try:
            reply = asyncio.run_coroutine_threadsafe(asked, loop).result()
        except NoRouteError as error:
            return {"error": str(error)}, 503
        except TimeoutError as error:
            return {"error": str(error)}, 504
        if reply.type is SignalType.ERROR:
            return {"error": reply.payload["message"]}, 502
        return reply.payload["output"], 200

    return app


async def shout(input: dict[str, Any], context: list[Any]) -> dict[str, str]:
    return {"response": input["prompt"].upper()}


async def main() -> None:
    synapse = await connect_synapse("memory://")
    worker = Dendrite(synapse=synapse, namespace="demo", role="worker")
    worker.attach_axon(Axon(neuron_id="shouter", neuron_fn=shout, capabilities=["shout"]))
    orchestrator = Dendrite(synapse=synapse, namespace="demo")
    async with worker, orchestrator:
        browser = edge(orchestrator, asyncio.get_running_loop()).test_client()
        for path in ("/ask/shout", "/ask/whisper"):
            answer = await asyncio.to_thread(browser.post, path, json={"prompt": "hello, edge"})
            print(f"POST {path}: {answer.status_code} {answer.get_json()}")
    await synapse.close()


if __name__ == "__main__":
    asyncio.run(main())
