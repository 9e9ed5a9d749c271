"""The lifespan of an ASGI app: its startup and shutdown, in a task that lives from one to the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cosmo_source_flask.failures import Failures
    from cosmo_source_flask.interfaces import AsgiApp, Message

SHUTDOWN_GRACE_S: Final = 10.0
"""How long an app may take to shut down before it is cancelled."""


class Lifespan:
    """Runs the lifespan of an app in the running loop; the startup begins at once.

    An app that raises instead of answering the startup has no lifespan, which is fine, as the ASGI
    specification says.

    Attributes:
        state: What the app's startup leaves for its requests.
    """

    def __init__(self, app: AsgiApp, failures: Failures) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._failures = failures
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._startup: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def started(self) -> bool:
        """Wait for the startup, and tell whether requests may follow; many may wait."""
        await asyncio.wait([self._startup])
        return self._startup.result()

    async def shut_down(self) -> None:
        """Shut the app down, within `SHUTDOWN_GRACE_S`; one that did not start up yet is cancelled."""
        if self._startup.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait([self._task], timeout=SHUTDOWN_GRACE_S)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN_GRACE_S)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            self._finish_startup(ok=False)
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the app's, whatever it is
            if not self._startup.done():
                self._failures.note(f"is used without lifespan: it raised {type(error).__name__}")
            elif self._startup.result():
                self._failures.log("broke off its lifespan", error)
        self._finish_startup(ok=True)

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._finish_startup(ok=True)
            case "lifespan.startup.failed":
                self._failures.log_text("failed to start up", message.get("message", ""))
                self._finish_startup(ok=False)
            case "lifespan.shutdown.failed":
                self._failures.log_text("failed to shut down", message.get("message", ""))

    def _finish_startup(self, *, ok: bool) -> None:
        if not self._startup.done():
            self._startup.set_result(ok)
