"""A host in a process of its own: python writer.py <dsn> <schema> <prefix> <keys> <count>.

It does that many upserts, 32 at a time, to that many keys, and prints the key of each that is acknowledged.
"""

from __future__ import annotations

import asyncio
import sys

from cosmo_core.contracts.engram import Write
from cosmo_engram_postgres import PostgresEngram


async def main(dsn: str, schema: str, prefix: str, keys: int, count: int) -> None:
    engram = PostgresEngram(engram_id="ctx", dsn=dsn, schema=schema)
    await engram.connect()
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            key = f"k{number % keys}"
            entry = {"text": f"entry {number}", "from": prefix}
            await engram.imprint(
                Write.parse("upsert", entry, imprint_id=f"{prefix}-{number}", merge_key=key, trace_id="trc_1")
            )
            sys.stdout.write(key + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(work() for _ in range(32)))
    await engram.close()


if __name__ == "__main__":
    dsn, schema, prefix, keys, count = sys.argv[1:]
    asyncio.run(main(dsn, schema, prefix, int(keys), int(count)))
