"""Running this command line in a process of its own, and again whenever its modules change."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
from watchfiles import PythonFilter, awatch

from cosmo_core_cli.failing import complain
from cosmo_core_cli.run.ending import end_signals

CHILD: Final = "COSMO_RELOAD_CHILD"
"""The environment variable that tells a process that another one watches the files for it."""

MARGIN_S: Final = 5.0
"""Seconds beyond its grace period after which a process that does not end is killed."""


def is_child() -> bool:
    """Tell, once, whether another process watches the files for this one."""
    return os.environ.pop(CHILD, None) is not None


async def reloaded(folders: Sequence[Path], grace_s: float) -> int:
    """Run this command line, and again after each change of a Python file, until told to end.

    Args:
        folders: Where changes matter.
        grace_s: For how many seconds what runs may finish.

    Returns:
        The exit status of the last process.
    """
    with end_signals() as ended:
        changes = awatch(*folders, watch_filter=PythonFilter(), stop_event=ended)
        while True:
            change = asyncio.ensure_future(anext(changes, None))
            # It begins to look before the module is imported: no change is missed.
            await asyncio.sleep(0)
            async with _running(grace_s) as child:
                await _settled(child, change)
                changed = await change
            if changed is None:
                return _status(child)
            names = ", ".join(sorted({Path(path).name for _, path in changed}))
            click.echo(f"{names} changed: starting again", err=True)


@asynccontextmanager
async def _running(grace_s: float) -> AsyncIterator[Process]:
    """Run this command line in a process, which has ended afterwards."""
    # In a group of its own: Ctrl-C is for this process, which then tells the other to drain, once.
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cosmo_core_cli", *sys.argv[1:]),
        env={**os.environ, CHILD: "1"},
        process_group=0,
    )
    try:
        yield child
    finally:
        await _end(child, grace_s)


async def _settled(child: Process, change: asyncio.Future[Any]) -> None:
    """Return when something has changed; say so if the process ended before."""
    exited = asyncio.ensure_future(child.wait())
    await asyncio.wait([exited, change], return_when=asyncio.FIRST_COMPLETED)
    if not change.done():
        complain(f"it ended with status {exited.result()}; a change starts it again, Ctrl-C ends this")
    exited.cancel()


async def _end(child: Process, grace_s: float) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(grace_s + MARGIN_S):
            await child.wait()
    except TimeoutError:
        complain(f"process {child.pid} did not end within {grace_s + MARGIN_S:g} s, and is killed")
        child.kill()
        await child.wait()


def _status(child: Process) -> int:
    """Return the exit status of a process that has ended, as a shell has it."""
    status = child.returncode or 0
    return status if status >= 0 else 128 - status
