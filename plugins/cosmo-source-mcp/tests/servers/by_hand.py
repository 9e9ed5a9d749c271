"""An MCP server of the 2025 protocol without the SDK, with faults on request.

The first argument names a fault. The optional second argument is the path of a file: the server creates it,
and has the fault only if the file did not exist. The tools are named after the faults of their answers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HUGE = 17 << 20
SLOW = {"type": "string", "pattern": "^(a+)+$"}
lists_sent = 0
TEXT = {"content": [{"type": "text", "text": "fine"}]}


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def answer(id: object, result: dict[str, Any]) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}))


def huge(id: object) -> str:
    text = "x" * HUGE
    return f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}'


# The line that each tool prints as the answer to the request with this id.
UNUSABLE_ANSWERS: dict[str, Callable[[object], str]] = {
    "huge": huge,
    "huge_with_id_last": lambda id: f'{{"result":{{"x":"{"x" * HUGE}"}},"jsonrpc":"2.0","id":{id}}}',
    "huge_without_id": lambda id: f'{{"junk":"{"x" * HUGE}"}}',
    "not_json": lambda id: f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[}}}}',
    "half_a_surrogate": lambda id: f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"x":"\\ud800"}}}}',
    "not_a_number": lambda id: (
        f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"structuredContent":{{"x":NaN}}}}}}'
    ),
    "no_result": lambda id: f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":7}}}}',
    "an_error": lambda id: (
        f'{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"out of order"}}}}'
    ),
    "silence": lambda id: "",
}


def call(id: object, name: str, arguments: dict[str, Any]) -> None:
    if name in UNUSABLE_ANSWERS:
        write(UNUSABLE_ANSWERS[name](id))
    elif name == "empty_promise":
        answer(id, TEXT)
    elif name == "pid":
        answer(id, {"content": [], "structuredContent": {"pid": os.getpid()}})
    elif name == "lists":
        answer(id, {"content": [], "structuredContent": {"lists": lists_sent}})
    elif name == "deaf":
        os.close(sys.stdout.fileno())
        signal.pause()
    elif name == "die":
        sys.exit(9)
    elif name == "change":
        write('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
        answer(id, TEXT)
    else:
        answer(id, {**TEXT, "structuredContent": {"arguments": arguments}})


def tools() -> list[dict[str, Any]]:
    names = [*UNUSABLE_ANSWERS, "fine", "pid", "lists", "deaf", "die", "change"]
    plain = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    broken = {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema"}}}
    promise = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    odd_promise = {"type": "object", "properties": {"arguments": {"type": 7}}}
    slow_promise = {"type": "object", "properties": {"arguments": {"properties": {"x": SLOW}}}}
    return [
        *plain,
        {"name": "unresolvable", "inputSchema": broken},
        {"name": "slow_pattern", "inputSchema": {"type": "object", "properties": {"x": SLOW}}},
        {"name": "slow_promise", "inputSchema": {"type": "object"}, "outputSchema": slow_promise},
        {"name": "odd_promise", "inputSchema": {"type": "object"}, "outputSchema": odd_promise},
        {"name": "empty_promise", "inputSchema": {"type": "object"}, "outputSchema": promise},
        {"name": "broken_promise", "inputSchema": {"type": "object"}, "outputSchema": promise},
    ]


def serve(fault: str) -> None:
    global lists_sent
    for line in sys.stdin:
        message = json.loads(line)
        id, method, params = message.get("id"), message["method"], message.get("params", {})
        if method == "initialize":
            about = {"name": "by hand", "version": "0"}
            version = "1999-01-01" if fault == "old" else "2025-06-18"
            answer(id, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
        elif method == "tools/list":
            lists_sent += 1
            more = {"nextCursor": "more"} if fault == "endless" else {}
            answer(id, {"tools": tools(), **more})
        elif method == "tools/call":
            call(id, params["name"], params.get("arguments", {}))
        elif id is not None:
            error = {"code": -32601, "message": f"no method {method}"}
            write(json.dumps({"jsonrpc": "2.0", "id": id, "error": error}))


def main(fault: str = "", once: str = "") -> None:
    if once and Path(once).exists():
        fault = ""
    elif once:
        Path(once).write_text(str(os.getpid()))
    while fault == "slow" and Path(once).exists():
        time.sleep(0.01)
    if fault == "exit":
        sys.stderr.write(f"no {os.environ.get('NEEDED', 'luck')} today\n")
        sys.exit(3)
    if fault == "mute":
        sys.stdin.read()
    if fault == "flood":
        while True:
            write("I am not an MCP server")
    if fault == "chatty":
        write("Welcome!")
    if fault == "loud":
        sys.stderr.write("noise " * 100_000)
    if fault == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(fault)
    while fault == "stubborn":
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
