"""A program that uses a store in its own process: python child.py <command> <path> <arguments>."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from cosmo_core import EngramError
from cosmo_core.contracts.engram import Query, Write
from cosmo_core.protocol.ids import new_ulid
from cosmo_engram_sqlite import SqliteEngram


def report(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def imprint(path: str, name: str, count: str) -> None:
    """Write entries, 32 at a time, and report the id of each as soon as it is acknowledged."""
    engram = SqliteEngram(engram_id="ctx", path=path)
    await engram.connect()
    numbers = iter(range(int(count)))

    async def work() -> None:
        for number in numbers:
            id = f"{name}-{number}"
            entry = {"id": id, "text": f"entry {number} of {name}", "tags": ["all"]}
            await engram.imprint(Write.parse("append", entry, imprint_id=f"imp_{id}"))
            merged = Write.parse("merge", {"ids": [id]}, imprint_id=f"mrg_{id}", merge_key="log")
            if number % 20 == 0:
                await engram.imprint(merged)
            report(id)

    first = Write.parse("append", {"ids": []}, imprint_id="the log", merge_key="log")
    await engram.imprint(first)
    await asyncio.gather(*(work() for _ in range(32)))
    await engram.close()


async def fill(folder: str) -> None:
    """Fill a disk of 4 MiB, free some space, write again, and then make the disk read-only."""
    mount("-t", "tmpfs", "-o", "size=4m", "none", folder)
    ballast = Path(folder, "ballast")
    await asyncio.to_thread(ballast.write_bytes, bytes(2 << 20))
    engram = SqliteEngram(engram_id="ctx", path=Path(folder, "store.db"))
    await engram.connect()
    kept = await _until_full(engram)
    report(len(kept) > 0 and kept == await _ids(engram))
    await asyncio.to_thread(ballast.unlink)
    receipt = await engram.imprint(_large("after"))
    report({*kept, receipt.id} == await _ids(engram))
    await engram.close()
    mount("-o", "remount,ro", folder)
    try:
        await engram.connect()
    except EngramError as error:
        report(f"{error.code} {error}")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S603, S607


async def _until_full(engram: SqliteEngram) -> set[str]:
    kept: set[str] = set()
    while True:
        writes = [_large(new_ulid()) for _ in range(8)]
        receipts = await asyncio.gather(*map(engram.imprint, writes), return_exceptions=True)
        for write, receipt in zip(writes, receipts, strict=True):
            if not isinstance(receipt, BaseException):
                kept.add(str(write.id))
        failed = [each for each in receipts if isinstance(each, BaseException)]
        if failed:
            report(" ".join(sorted({getattr(each, "code", repr(each)) for each in failed})))
            return kept


def _large(id: str) -> Write:
    return Write.parse("append", {"id": id, "data": "x" * 20_000}, imprint_id=f"imp_{id}")


async def _ids(engram: SqliteEngram) -> set[str]:
    return {found.id for found in (await engram.recall(Query(limit=1_000))).found}


async def limited(path: str) -> None:
    """Write to a file whose size is limited to 1 MiB."""
    import resource

    engram = SqliteEngram(engram_id="ctx", path=path)
    await engram.connect()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    kept = await _until_full(engram)
    report(len(kept) > 0 and kept == await _ids(engram))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    receipt = await engram.imprint(_large("after"))
    report({*kept, receipt.id} == await _ids(engram))
    await engram.close()


_COMMANDS: dict[str, Callable[..., Awaitable[None]]] = {"imprint": imprint, "fill": fill, "limited": limited}


async def main(command: str, *arguments: str) -> None:
    await _COMMANDS[command](*arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
