"""A toolbox on the bus: TASKs that call the tools of an MCP server.

The server is this file: the source starts it as ``python mcp_toolbox.py serve``, and talks to it over stdio.
For another server, change the line that makes the Neuron: ``server="filesystem"``, or ``url="https://…"``.
"""

import asyncio
import datetime as dt
import sys

from mcp.server import MCPServer

from cosmo_core import Axon, Dendrite, Neuron, SignalType, connect_synapse

server = MCPServer("toolbox")


@server.tool()
def days_between(first: dt.date, last: dt.date) -> int:
    """How many days there are from one date to another."""
    return (last - first).days


@server.tool()
def longest_word(text: str) -> str:
    """The longest word of a text."""
    return max(text.split(), key=len)


async def main() -> None:
    toolbox = Neuron(source="mcp", command=sys.executable, args=[__file__, "serve"])
    synapse = await connect_synapse("memory://")
    async with Dendrite(synapse=synapse, namespace="demo") as dendrite:
        await dendrite.add_axon(Axon(neuron_id="toolbox", neuron_fn=toolbox, capabilities=["tools"]))

        listed = await dendrite.dispatch_and_wait(capabilities=["tools"], input={"list_tools": True})
        for tool in listed.raise_for_error().payload["output"]["result"]:
            print(f"{tool['name']}: {tool['description']}")

        for call in (
            {"tool": "days_between", "arguments": {"first": "2024-02-01", "last": "2024-03-01"}},
            {"tool": "longest_word", "arguments": {"text": "what a wonderful toolbox"}},
            {"tool": "longest_word", "arguments": {"text": 17}},
            {"tool": "hammer"},
        ):
            reply = await dendrite.dispatch_and_wait(capabilities=["tools"], input=call)
            if reply.type is SignalType.ERROR:
                print(f"{reply.payload['code']}: {reply.payload['message']}")
            else:
                print(f"{call['tool']}: {reply.payload['output']['response']}")
    await synapse.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        server.run()
    else:
        asyncio.run(main())
