from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cosmo_core.plugins import PluginManager, hookimpl

if TYPE_CHECKING:
    from cosmo_core.dendrite import Dendrite


class Recorder:
    """A plugin that records its life cycle and raises the given exceptions."""

    def __init__(self, name: str, log: list[str], **raises: BaseException) -> None:
        self.name = name
        self.log = log
        self.raises = raises

    @hookimpl
    async def cosmo_dendrite_started(self, dendrite: Dendrite) -> None:
        self._record("started")

    @hookimpl
    def cosmo_dendrite_stopping(self, dendrite: Dendrite) -> None:
        self._record("stopping")

    def _record(self, step: str) -> None:
        self.log.append(f"{self.name} {step}")
        if step in self.raises:
            raise self.raises[step]


class StopOnly:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    @hookimpl
    async def cosmo_dendrite_stopping(self) -> None:
        self.log.append("stop-only stopping")


def _manager(*plugins: Recorder) -> PluginManager:
    manager = PluginManager(environ={})
    for plugin in plugins:
        manager.register(plugin, name=plugin.name)
    return manager


async def test_cosmo_dendrite_started_runs_in_order_and_cosmo_dendrite_stopping_in_reverse(
    dendrite: Dendrite,
) -> None:
    log: list[str] = []
    manager = _manager(Recorder("b", log), Recorder("c", log), Recorder("a", log))
    await manager.dendrite_started(dendrite)
    await manager.dendrite_stopping(dendrite)
    assert log == ["a started", "b started", "c started", "c stopping", "b stopping", "a stopping"]


async def test_failed_start_stops_the_started_plugins_and_raises(dendrite: Dendrite) -> None:
    log: list[str] = []
    manager = _manager(Recorder("a", log), Recorder("b", log, started=OSError("no port")), Recorder("c", log))
    with pytest.raises(OSError, match="no port") as caught:
        await manager.dendrite_started(dendrite)
    assert caught.value.__notes__ == ["from plugin b of this program"]
    assert log == ["a started", "b started", "a stopping"]


async def test_plugin_without_a_started_hook_counts_as_started(dendrite: Dendrite) -> None:
    log: list[str] = []
    manager = _manager(Recorder("a", log, started=OSError("no port")))
    manager.register(StopOnly(log), name="z")
    with pytest.raises(OSError, match="no port"):
        await manager.dendrite_started(dendrite)
    assert log == ["a started", "stop-only stopping"]


async def test_failure_while_undoing_a_start_is_logged_and_hides_nothing(
    dendrite: Dendrite, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    manager = _manager(
        Recorder("a", log, stopping=ValueError("cannot close")),
        Recorder("b", log, started=OSError("no port")),
    )
    with pytest.raises(OSError, match="no port"):
        await manager.dendrite_started(dendrite)
    assert "cannot close" in caplog.text
    assert "from plugin a of this program" in caplog.text


async def test_every_plugin_stops_and_errors_form_one_group(dendrite: Dendrite) -> None:
    log: list[str] = []
    manager = _manager(
        Recorder("a", log, stopping=ValueError("a is stuck")),
        Recorder("b", log),
        Recorder("c", log, stopping=OSError("c is stuck")),
    )
    with pytest.raises(ExceptionGroup) as caught:
        await manager.dendrite_stopping(dendrite)
    assert log == ["c stopping", "b stopping", "a stopping"]
    assert [(str(e), e.__notes__) for e in caught.value.exceptions] == [
        ("c is stuck", ["from plugin c of this program"]),
        ("a is stuck", ["from plugin a of this program"]),
    ]


class Waiting:
    """A plugin that waits in one of its hooks until it is cancelled."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.reached = asyncio.Event()

    @hookimpl
    async def cosmo_dendrite_started(self) -> None:
        await self._wait("started")

    @hookimpl
    async def cosmo_dendrite_stopping(self) -> None:
        await self._wait("stopping")

    async def _wait(self, step: str) -> None:
        if step == self.step:
            self.reached.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("step", "expected", "also"),
    [
        ("started", ["a started", "a stopping"], None),
        ("stopping", ["z stopping", "a stopping"], "stuck"),
    ],
)
async def test_cancelled_call_stops_every_plugin_and_stays_cancelled(
    dendrite: Dendrite, step: str, expected: list[str], also: str | None
) -> None:
    log: list[str] = []
    waiting = Waiting(step)
    manager = _manager(Recorder("a", log), Recorder("z", log, stopping=OSError("stuck")))
    manager.register(waiting, name="m")
    task = asyncio.create_task(getattr(manager, f"dendrite_{step}")(dendrite))
    async with asyncio.timeout(5):
        await waiting.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert log == expected
    group = caught.value.__cause__
    assert (str(group.exceptions[0]) if isinstance(group, ExceptionGroup) else None) == also


async def test_one_manager_serves_several_dendrites(dendrite: Dendrite) -> None:
    log: list[str] = []
    manager = _manager(Recorder("a", log))
    for _ in range(2):
        await manager.dendrite_started(dendrite)
    for _ in range(2):
        await manager.dendrite_stopping(dendrite)
    assert log == ["a started"] * 2 + ["a stopping"] * 2
