"""An MCP server of the 2025 protocol, without the SDK, with every capability of a client's concern.

It answers in the order of the requests, and waits for the answers to its own requests.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

URL = "https://x.example/"
NUMBER = {"type": "integer", "minimum": 0}
AGE = {"type": "object", "properties": {"age": NUMBER}, "required": ["age"]}
DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "Ada"},
        "loud": {"type": "boolean", "default": True},
    },
}
RESOURCES = {
    "note://one": [{"uri": "note://one", "mimeType": "text/plain", "text": "first note"}],
    "note://dot": [{"uri": "note://dot", "mimeType": "image/png", "blob": "AAAA"}],
    "note://by/Ada%20L": [{"uri": "note://by/Ada%20L", "text": "by Ada"}],
}
PROMPTS = [{"name": "greet", "arguments": [{"name": "who", "required": True}]}]
ids = itertools.count(1000)
asked = 0


def write(message: dict[str, Any]) -> None:
    mark = "\ufeff" if "--bom" in sys.argv else ""
    sys.stdout.write(mark + json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Send a request, and return the result of its answer; end the session if none comes."""
    id = next(ids)
    write({"id": id, "method": method, "params": params})
    while line := sys.stdin.readline():
        message = json.loads(line)
        if message.get("id") == id:
            return message.get("result") or {"error": message["error"]}
        if "method" in message and "id" in message:
            handle(message)
    sys.exit()


def ask(message: str, schema: dict[str, Any]) -> dict[str, Any]:
    global asked
    asked += 1
    return request("elicitation/create", {"message": message, "requestedSchema": schema})


def notify(method: str, **params: Any) -> None:
    write({"method": f"notifications/{method}", "params": params})


def call(name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    match name:
        case "age":
            return {"answer": ask("How old are you?", AGE), "asked": asked}
        case "greet":
            return {"answer": ask("Who, and how?", DEFAULTS), "asked": asked}
        case "both":
            first = ask("How old are you?", AGE)
            return {"answers": [first, ask("Who, and how?", DEFAULTS)], "asked": asked}
        case "visit":
            place = {
                "mode": "url",
                "message": "Please log in.",
                "url": "https://x.example/",
                "elicitationId": "1",
            }
            return {"answer": request("elicitation/create", place)}
        case "roots":
            return request("roots/list", {})
        case "count":
            token, total = meta.get("progressToken"), arguments["to"]
            for n in range(total):
                notify("message", level="info", logger="counter", data=f"step {n}")
                if token is not None:
                    notify(
                        "progress", progressToken=token, progress=n + 1, total=arguments["to"], message="on"
                    )
            return {"asked_for_progress": token is not None}
        case _:
            return {"pid": os.getpid()}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            about = {"name": "guide", "version": "1"}
            abilities: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}, "logging": {}}
            return {"protocolVersion": "2025-11-25", "capabilities": abilities, "serverInfo": about}
        case "tools/list":
            names = ["age", "greet", "both", "visit", "roots", "count", "pid"]
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
        case "tools/call":
            outcome = call(params["name"], params.get("arguments", {}), params.get("_meta", {}))
            return {"content": [], "structuredContent": outcome}
        case "resources/list":
            # On two pages, the first of them without the last resource.
            uris = list(RESOURCES)[:2]
            page = uris[1:] if params.get("cursor") else uris[:1]
            more = {} if params.get("cursor") else {"nextCursor": "2"}
            return {"resources": [{"uri": uri, "name": uri} for uri in page], **more}
        case "resources/templates/list":
            return {"resourceTemplates": [{"uriTemplate": "note://by/{author}", "name": "by author"}]}
        case "resources/read" if params["uri"] in RESOURCES:
            return {"contents": RESOURCES[params["uri"]]}
        case "prompts/list":
            return {"prompts": PROMPTS}
        case "prompts/get":
            text = {"type": "text", "text": f"Greet {params['arguments']['who']}."}
            image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": image}]
            return {"description": "a greeting", "messages": messages}
        case "logging/setLevel":
            return {}
    return None


def handle(message: dict[str, Any]) -> None:
    method, params = message["method"], message.get("params", {})
    if "id" not in message:
        return
    result = result_of(method, params)
    if result is not None:
        write({"id": message["id"], "result": result})
    elif method == "resources/read":
        write({"id": message["id"], "error": {"code": -32002, "message": "no such note"}})
    else:
        write({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    while line := sys.stdin.readline():
        message = json.loads(line)
        if "method" in message:
            handle(message)
