"""The limit of a refresh on PostgreSQL: its one write by itself, through bare asyncpg. Run as a child process."""

import asyncio
import itertools
import time
from typing import Any, Final

import asyncpg
import msgspec
import uvloop

from bench import machine
from bench.load import WARM_UP
from mintmark.storage.statements import GRANT_ADVANCE

CONNECTIONS: Final = 10
"""As many as a node keeps."""
_CLIENT: Final = "openid-RS256"
"""Whose grants: nobody refreshes them by their tokens, which this leaves behind."""
_ADVANCE: Final = GRANT_ADVANCE.replace("?", "$")


async def single_updates(database: str, seconds: float) -> float:
    """Return how many compare-and-sets a second the database commits, each by itself, ``CONNECTIONS`` at a time."""
    pool = [await asyncpg.connect(database) for _ in range(CONNECTIONS)]
    rows = await pool[0].fetch("SELECT id, generation FROM grants WHERE client_id = $1 ORDER BY id", _CLIENT)
    done = 0

    async def refresh(connection: Any, own: list[Any]) -> None:
        nonlocal done
        advance = await connection.prepare(_ADVANCE)
        for turn, (grant, generation) in ((turn, row) for turn in itertools.count() for row in own):
            current = generation + turn
            await advance.fetch(grant, current, current + 1, 1, 2**31, 1, 0)
            assert advance.get_statusmsg() == "UPDATE 1"
            done += 1

    tasks = [asyncio.create_task(refresh(one, rows[first::CONNECTIONS])) for first, one in enumerate(pool)]
    await asyncio.sleep(WARM_UP)
    done, start = 0, time.perf_counter()
    await asyncio.wait(tasks, timeout=seconds)
    rate = done / (time.perf_counter() - start)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in pool:
        connection.terminate()
    return rate


if __name__ == "__main__":
    url, how_long = machine.pin_as_told()
    print(msgspec.json.encode(uvloop.run(single_updates(url, float(how_long)))).decode())
