"""The chat server as a program: ``python -m cosmo_testing.chat_server``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import suppress

from cosmo_testing.chat_server.server import ChatServer


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the URL on a line of its own, and serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m cosmo_testing.chat_server",
        description="A chat server for tests and offline work, without a model.",
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="the port; 0 lets the system choose (default: 8080)"
    )
    parser.add_argument("--api-key", help="refuse requests without this key")
    options = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_until_cancelled(options.port, options.api_key))


async def _serve_until_cancelled(port: int, api_key: str | None) -> None:
    async with ChatServer(port=port, api_key=api_key) as server:
        print(server.url, flush=True)  # noqa: T201 - the output of the command
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
