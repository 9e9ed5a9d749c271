"""`cosmo run --reload`: runs the command line in a child process, and restarts it when a file changes."""

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

from cosmo_core_cli.errors import print_error
from cosmo_core_cli.run.hosting import termination_signals

CHILD: Final = "COSMO_RELOAD_CHILD"
"""The environment variable that marks the child process."""

KILL_MARGIN_S: Final = 5.0
"""Seconds after the grace period before a child that does not end is killed."""


def is_child() -> bool:
    """Tell whether this is the child process. Only the first call does: children of the child are not."""
    return os.environ.pop(CHILD, None) is not None


async def run_with_reload(folders: Sequence[Path], grace_s: float) -> int:
    """Run this command line, and again after each change of a Python file, until SIGTERM or Ctrl-C.

    Args:
        folders: The folders whose files are watched.
        grace_s: Seconds that running TASKs may take to finish.

    Returns:
        The exit status of the last child.
    """
    with termination_signals() as terminated:
        changes = awatch(*folders, watch_filter=PythonFilter(), stop_event=terminated)
        while True:
            change = asyncio.ensure_future(anext(changes, None))
            # Watching starts before the child imports the modules, so no change is missed.
            await asyncio.sleep(0)
            async with _child_process(grace_s) as child:
                await _wait_for_change(child, change)
                changed = await change
            if changed is None:
                return _shell_status(child)
            names = ", ".join(sorted({Path(path).name for _, path in changed}))
            click.echo(f"{names} changed: restarting", err=True)


@asynccontextmanager
async def _child_process(grace_s: float) -> AsyncIterator[Process]:
    """Run this command line in a child process, and end the child at the end."""
    # Its own process group: Ctrl-C reaches only this process, which then tells the child to drain, once.
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cosmo_core_cli", *sys.argv[1:]),
        env={**os.environ, CHILD: "1"},
        process_group=0,
    )
    try:
        yield child
    finally:
        await _terminate(child, grace_s)


async def _wait_for_change(child: Process, change: asyncio.Future[Any]) -> None:
    """Wait for a change; print an error if the child ends before."""
    exited = asyncio.ensure_future(child.wait())
    await asyncio.wait([exited, change], return_when=asyncio.FIRST_COMPLETED)
    if not change.done():
        print_error(
            f"the process ended with status {exited.result()}; a change restarts it, Ctrl-C ends the command"
        )
    exited.cancel()


async def _terminate(child: Process, grace_s: float) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(grace_s + KILL_MARGIN_S):
            await child.wait()
    except TimeoutError:
        print_error(f"process {child.pid} did not end within {grace_s + KILL_MARGIN_S:g} s and is killed")
        child.kill()
        await child.wait()


def _shell_status(child: Process) -> int:
    """Return the exit status of an ended process, as a shell reports it."""
    status = child.returncode or 0
    return status if status >= 0 else 128 - status
