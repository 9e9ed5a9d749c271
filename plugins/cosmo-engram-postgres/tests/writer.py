"""A host in its own process: python writer.py <dsn> <schema> <prefix> <keys> <count>.

It upserts ``count`` times, 32 at a time, to ``keys`` different keys, and prints the key of each acknowledged
write.
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

    async def upsert() -> None:
        for number in numbers:
            key = f"k{number % keys}"
            entry = {"text": f"entry {number}", "from": prefix}
            await engram.imprint(
                Write.parse("upsert", entry, imprint_id=f"{prefix}-{number}", merge_key=key, trace_id="trc_1")
            )
            sys.stdout.write(key + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(upsert() for _ in range(32)))
    await engram.close()


if __name__ == "__main__":
    dsn, schema, prefix, keys, count = sys.argv[1:]
    asyncio.run(main(dsn, schema, prefix, int(keys), int(count)))
