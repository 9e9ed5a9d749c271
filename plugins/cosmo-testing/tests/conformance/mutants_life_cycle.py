"""Sources that are wrong about how they are made, and about what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.conformance.double import MUTANTS, Ask, Double, breaks

"""Puts an end to what the mutants have left behind."""


@breaks("source:import-offline", "resolves a name: 'models.example'")
class ConnectsAtImport(Double):
    __module__ = "connects_at_import"


@breaks("source:import-offline", "No module named 'no_such_module'")
class CannotBeImported(Double):
    __module__ = "no_such_module"


@breaks("source:construction-offline", "resolves a name: '127.0.0.1'")
class Connects(Double):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        with contextlib.suppress(Exception):
            socket.create_connection(("127.0.0.1", 9), timeout=1)


@breaks("source:construction-offline", "models.json")
class ReadsAFile(Double):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.code = Path(__file__).with_name("models.json").read_bytes()


@breaks("source:construction-offline", "leaves <Thread")
class StartsAThread(Double):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stop = threading.Event()
        threading.Thread(target=self.stop.wait, daemon=True).start()

    async def aclose(self) -> None:
        self.stop.set()


@breaks("source:construction-offline", "no running event loop")
class NeedsALoop(Double):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loop = asyncio.get_running_loop()


@breaks("source:construction-offline", "asks the provider")
class AsksAtOnce(Double):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        asyncio.run(self.fetch("are you there?"))


@breaks("source:unknown-option", "was accepted")
class TakesAnyOption(Double):
    def __init__(self, *, ask: Ask, api_key: str, timeout: float = 5.0, **ignored: Any) -> None:
        super().__init__(ask=ask, api_key=api_key, timeout=timeout)


@breaks("source:aclose-idempotent", "closed already")
class ClosesOnce(Double):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


@breaks("source:usable-after-aclose", "the client is closed")
class StaysClosed(Double):
    closed = False

    async def fetch(self, prompt: str) -> str:
        if self.closed:
            raise RuntimeError("the client is closed")
        return await super().fetch(prompt)

    async def aclose(self) -> None:
        self.closed = True


@breaks("source:no-task-left", "Event.wait")
class KeepsAlive(Double):
    async def fetch(self, prompt: str) -> str:
        MUTANTS.cleanups.append(asyncio.create_task(asyncio.Event().wait()).cancel)
        return await super().fetch(prompt)


@breaks("source:nothing-left-open", "<socket.socket")
class LeavesASocketOpen(Double):
    async def fetch(self, prompt: str) -> str:
        MUTANTS.cleanups.append(socket.socket().close)
        return await super().fetch(prompt)


@breaks("source:nothing-left-open", "unclosed <socket.socket")
class DropsASocket(Double):
    async def fetch(self, prompt: str) -> str:
        self.socket = socket.socket()
        return await super().fetch(prompt)


@breaks("source:nothing-left-open", "<Thread")
class LeavesAThread(Double):
    async def fetch(self, prompt: str) -> str:
        stop = threading.Event()
        threading.Thread(target=stop.wait, daemon=True).start()
        MUTANTS.cleanups.append(stop.set)
        return await super().fetch(prompt)


@breaks("source:nothing-left-open", "<Popen")
class LeavesAProcess(Double):
    async def fetch(self, prompt: str) -> str:
        if prompt == "question 0" and not MUTANTS.cleanups:
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220
            MUTANTS.cleanups.append(child.communicate)
        return await super().fetch(prompt)
