"""One use of each extra of cosmo-core, for an environment into which the extra was just installed.

`python -I smoke.py zmq`: isolated, so that nothing of the checkout is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cosmo_core import Axon, Dendrite, Neuron, connect_synapse, engram_from_url


async def shout(input: dict[str, Any], context: list[Any]) -> dict[str, Any]:
    """Answer in capitals."""
    return {"response": input["prompt"].upper()}


async def round_trip(url: str) -> str:
    """Ask a Neuron that another Dendrite hosts; each Dendrite has its own connection."""
    there, here = await connect_synapse(url), await connect_synapse(url)
    worker = Dendrite(synapse=there, role="worker")
    worker.attach_axon(Axon(neuron_id="shout", neuron_fn=shout))
    orchestrator = Dendrite(synapse=here)
    async with worker, orchestrator:
        reply = await orchestrator.dispatch_and_wait(neuron="shout", input={"prompt": "hello"}, timeout_s=30)
    for synapse in (here, there):
        await synapse.close()
    return _text(reply.raise_for_error().payload["output"])


async def memory(url: str) -> str:
    """Imprint an entry and recall it."""
    from cosmo_core.contracts.engram import Query, Write

    engram = engram_from_url(url, engram_id="ctx")
    await engram.connect()
    await engram.imprint(Write.parse("upsert", {"text": "HELLO"}, imprint_id="imp_1", merge_key="greeting"))
    findings = await engram.recall(Query.parse({"text": "hello"}))
    await engram.close()
    return str(json.loads(findings.found[0].document)["text"])


async def answer(source: str, input: dict[str, Any], **options: Any) -> str:
    """Ask a Neuron of a source."""
    neuron: Any = Neuron(source=source, **options)
    output = await neuron(input, [])
    await neuron.aclose()
    return _text(output)


def _text(output: dict[str, Any]) -> str:
    return str(output["response"])


async def cli() -> str:
    """Run the command that lists what is installed."""
    cosmo = Path(sysconfig.get_path("scripts"), "cosmo")
    process = await asyncio.create_subprocess_exec(cosmo, "plugins", "--json", stdout=subprocess.PIPE)
    printed, _ = await process.communicate()
    json.loads(printed)
    return "HELLO" if process.returncode == 0 else f"exit status {process.returncode}"


async def compat() -> str:
    """Build a prompt, and make a round trip, under the borrowed names."""
    cosmonapse: Any = importlib.import_module("cosmonapse")
    context: Any = importlib.import_module("orbiter.context")
    prompt = await context.PromptBuilder(context.Context("task-1")).add("task").build()
    synapse = await cosmonapse.connect_synapse("memory://")
    dendrite = cosmonapse.Dendrite(synapse=synapse)
    dendrite.attach_axon(cosmonapse.Axon(neuron_id="shout", neuron_fn=shout))
    async with dendrite:
        reply = await dendrite.dispatch_and_wait(neuron="shout", input={"prompt": "hello"})
    await synapse.close()
    return _text(reply.payload["output"]) if "task-1" in prompt else prompt


async def context() -> str:
    """Build a prompt."""
    cosmo_context: Any = importlib.import_module("cosmo_context")
    ctx = cosmo_context.Context("HELLO")
    prompt = await cosmo_context.PromptBuilder(ctx).add("task").build()
    return "HELLO" if "Task ID: HELLO" in prompt else prompt


async def flask() -> str:
    """Ask a WSGI app."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        return [environ["wsgi.input"].read().upper()]

    return await answer("wsgi", {"data": "hello", "method": "POST"}, app=app)


async def llm() -> str:
    """Make a prompt a message, and an answer an output."""
    cosmo_llm: Any = importlib.import_module("cosmo_llm")
    importlib.import_module("cosmo_llm.http")
    (message,) = cosmo_llm.to_messages({"prompt": "HELLO"})
    return _text(cosmo_llm.to_output(message["content"], {}))


async def huggingface() -> str:
    """Ask a server that speaks chat completions."""
    message = {"role": "assistant", "content": "HELLO"}
    with _server({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}) as url:
        return await answer("huggingface", {"prompt": "hello"}, endpoint=url)


async def ollama() -> str:
    """Ask a server that speaks Ollama's API."""
    message = {"role": "assistant", "content": "HELLO"}
    with _server({"model": "llama3", "message": message, "done": True}) as url:
        return await answer("ollama", {"prompt": "hello"}, endpoint=url, model="llama3")


async def mcp() -> str:
    """Call a tool of a server over stdio."""
    server = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("shouts")

@server.tool()
def shout(text: str) -> str:
    return text.upper()

server.run()
"""
    input = {"tool": "shout", "arguments": {"text": "hello"}}
    return await answer("mcp", input, command=sys.executable, args=["-I", "-c", server])


async def nats() -> str:
    """Make a round trip through a server of its own."""
    testing: Any = importlib.import_module("cosmo_synapse_nats.testing")
    server = await asyncio.to_thread(testing.NatsServer.start)
    try:
        return await round_trip(server.url)
    finally:
        await asyncio.to_thread(server.stop)


async def postgres() -> str:
    """Imprint and recall in a server of its own."""
    testing: Any = importlib.import_module("cosmo_engram_postgres.testing")
    server = await asyncio.to_thread(testing.PostgresServer.start, fsync=False)
    try:
        return await memory(server.dsn)
    finally:
        await asyncio.to_thread(server.stop)


async def testing() -> str:
    """Import what an author's tests use, and ask the chat server."""
    kit: Any = importlib.import_module("cosmo_testing")
    for name in kit.__all__:
        getattr(kit, name)
    async with kit.ChatServer(reply=str.upper) as server:
        _, port = server.url.rsplit(":", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        body = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        response = await reader.read()
        writer.close()
    return str(json.loads(response.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"])


async def zmq() -> str:
    """Make a round trip through a hub inside one of the two programs."""
    with tempfile.TemporaryDirectory() as folder:
        return await round_trip(f"zmq+ipc://{folder}/bus?hub=auto")


@contextmanager
def _server(answered: dict[str, Any]) -> Iterator[str]:
    """Answer every POST with one JSON object, on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps(answered).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


Use = Callable[[], Awaitable[str]]

USES: Final[Mapping[str, Use]] = {
    "cli": cli,
    "compat": compat,
    "context": context,
    "flask": flask,
    "huggingface": huggingface,
    "llm": llm,
    "mcp": mcp,
    "memory": lambda: round_trip("memory://smoke"),
    "nats": nats,
    "ollama": ollama,
    "postgres": postgres,
    "sqlite": lambda: memory("sqlite://"),
    "testing": testing,
    "zmq": zmq,
}
"""A use of each extra, which returns HELLO."""


def main(extras: list[str]) -> int:
    """Use the extras; return the exit status."""
    status = 0
    for extra in extras:
        if extra not in USES:
            sys.stdout.write(f"{extra}: no use is known; add one to USES in {Path(__file__).name}\n")
            status = 1
            continue
        got = asyncio.run(asyncio.wait_for(USES[extra](), timeout=60))
        sys.stdout.write(f"{extra}: {got}\n")
        status |= got != "HELLO"
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
