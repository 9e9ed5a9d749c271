"""A chat server for tests and offline work: real HTTP on the loopback interface, no model behind it."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from cosmo_testing._ollama_models import PULLED, Models
from cosmo_testing._replies import canned_reply
from cosmo_testing._routes import refuse, respond
from cosmo_testing._server import MAX_BODY, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cosmo_testing._messages import ReceivedRequest, Response


class ChatServer(LoopbackServer):
    """Serves OpenAI chat completions, TGI's native API and Ollama's, deterministically, on 127.0.0.1.

    Paths: ``/v1/chat/completions``, ``/v1/models``; ``/generate``, ``/generate_stream``; ``/api/chat``,
    ``/api/generate``, ``/api/show``, ``/api/tags``, ``/api/version``. Use it as ``async with ChatServer() as
    server``, point a source at ``server.url``, and let requests fail with
    ``server.script(Fault.status(429, retry_after=0))``.

    Args:
        port: 0 lets the system choose.
        api_key: Refuse requests without it; ``None`` asks for none.
        reply: Makes the answer from the last user message.
        pulled: The models that Ollama's API knows; the other APIs take any name.
        max_body: The largest request body it takes, in bytes.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        reply: Callable[[str], str] = canned_reply,
        pulled: Iterable[str] = PULLED,
        max_body: int = MAX_BODY,
    ) -> None:
        models = Models(pulled)

        def answer(request: ReceivedRequest, serial: int) -> Response:
            return respond(request, serial=serial, api_key=api_key, reply=reply, models=models)

        super().__init__(answer, port=port, max_body=max_body, refuse=refuse)


async def _serve_until_cancelled(port: int, api_key: str | None) -> None:
    async with ChatServer(port=port, api_key=api_key) as server:
        print(server.url, flush=True)  # noqa: T201 - the URL is what the command answers with
        await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted, after printing the URL on a line of its own."""
    parser = argparse.ArgumentParser(prog="python -m cosmo_testing.chat_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 lets the system choose (default: 8080)")
    parser.add_argument("--api-key", help="refuse requests that do not bring this key")
    options = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_until_cancelled(options.port, options.api_key))


if __name__ == "__main__":
    main()
