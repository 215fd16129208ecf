"""Python programs that tests run in processes of their own."""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from tests.storage.store_things import NOW, client, event, grant, revocation, step

from mintmark.storage import schema
from mintmark.storage.sqlite import SQLiteStore
from mintmark.storage.sqlite.migrations import migrate


async def acknowledge(path: Path) -> None:
    """Write for ever; say each write on standard output once it was acknowledged."""
    store = SQLiteStore.open(path, now=NOW)

    async def climb(name: str) -> None:
        await store.grants.add(grant(name), event())
        expected = 0
        while True:
            assert await store.grants.advance(step(name, expected))
            expected += 1
            os.write(1, f"{name} {expected}\n".encode())

    await asyncio.gather(*(climb(f"g{number}") for number in range(8)))


async def add_clients(path: Path, prefix: str) -> None:
    """Open the file, perhaps as the first, and add 50 clients, all at once."""
    store = SQLiteStore.open(path, now=NOW)
    await asyncio.gather(*(store.clients.add(client(f"{prefix}{number}")) for number in range(50)))
    await store.close()


async def revoke_many(path: Path, prefix: str, count: str) -> None:
    """Add revocations one after the other, some of them at a time; for each half, be told on standard input."""
    store = SQLiteStore.open(path, now=NOW)

    async def add(lane: range) -> None:
        for number in lane:
            await store.revocations.add(revocation(f"{prefix}{number}"), event())

    middle = int(count) // 2
    for first, end in [(0, middle), (middle, int(count))]:
        os.write(1, b"ready\n")
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(add(range(first + lane, end, 4)) for lane in range(4)))
    await store.close()


async def die_while_migrating(path: Path) -> None:
    """Be killed in the middle of the migration after the last."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    script = "CREATE TABLE half (x);\nINSERT INTO half VALUES (1);\nSELECT die();\nCREATE TABLE whole (x);"
    known = schema.migrations("sqlite")
    migrate(connection, [*known, schema.migration(f"{len(known) + 1:04}_deadly", script)], now=NOW)


if __name__ == "__main__":
    program, path, *rest = sys.argv[1:]
    asyncio.run(globals()[program](Path(path), *rest))
