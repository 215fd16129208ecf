"""What is measured without HTTP, in a child process on the server's core: signatures, and SQLite by itself."""

import asyncio
import itertools
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import msgspec
import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench import machine
from bench.load import CONNECTIONS, WARM_UP
from mintmark.storage.statements import GRANT_ADVANCE

_TOKENS: Final = 500
_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()

Act = Callable[[], object]


def _timed(act: Act, seconds: float) -> tuple[float, float]:
    """Return how often ``act`` runs in a second of processor time, and what 99 of 100 runs take at most in ms."""
    clock, taken = time.perf_counter, []
    used, end = time.process_time(), clock() + seconds
    while (before := clock()) < end:
        act()
        taken.append(clock() - before)
    return len(taken) / (time.process_time() - used), sorted(taken)[int(len(taken) * 0.99)] * 1000


def rsa_signs(seconds: float) -> list[tuple[float, float]]:
    """RSA-2048 signatures by bare ``cryptography``."""
    key = rsa.generate_private_key(65537, 2048)
    message = b"x" * 700
    _timed(lambda: key.sign(message, _PKCS1, _SHA256), WARM_UP)
    return [_timed(lambda: key.sign(message, _PKCS1, _SHA256), seconds)]


def group_commits(seconds: float, database: str) -> list[tuple[float, float]]:
    """The compare-and-set of a refresh, durable, through a writer thread that commits everybody who waits at once."""
    return [uvloop.run(_group_commits(seconds, database))]


async def _group_commits(seconds: float, database: str) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    waiting: queue.SimpleQueue[list[tuple[Any, ...]] | None] = queue.SimpleQueue()
    gathered: list[tuple[Any, ...]] = []
    taken: list[float] = []

    def hand_over() -> None:
        waiting.put(gathered.copy())
        gathered.clear()

    async def refresh(rows: list[tuple[bytes, int]]) -> None:
        for turn, (grant, generation) in ((turn, row) for turn in itertools.count() for row in rows):
            before, future = time.perf_counter(), loop.create_future()
            if not gathered:
                loop.call_soon(hand_over)
            current = generation + turn
            gathered.append((future, (grant, current, current + 1, 1, 2**31, 1, 0)))
            await future
            taken.append(time.perf_counter() - before)

    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        rows = connection.execute(
            "SELECT id, generation FROM grants WHERE client_id = 'app-ES256' ORDER BY id"
        ).fetchall()
        thread = threading.Thread(target=_write, args=(connection, waiting, loop))
        thread.start()
        tasks = [asyncio.create_task(refresh(rows[first::CONNECTIONS])) for first in range(CONNECTIONS)]
        await asyncio.sleep(WARM_UP)
        taken.clear()
        start = time.perf_counter()
        await asyncio.sleep(seconds)
        rate, latencies = len(taken) / (time.perf_counter() - start), sorted(taken)
        for task in tasks:
            task.cancel()
        waiting.put(None)
        await asyncio.to_thread(thread.join)
    return rate, latencies[int(len(latencies) * 0.99)] * 1000


def _write(
    connection: sqlite3.Connection,
    waiting: "queue.SimpleQueue[list[tuple[Any, ...]] | None]",
    loop: asyncio.AbstractEventLoop,
) -> None:
    def settle(works: list[tuple[Any, ...]]) -> None:
        for future, _ in works:
            if not future.done():
                future.set_result(None)

    while works := waiting.get():
        connection.execute("BEGIN IMMEDIATE")
        for _, row in works:
            assert connection.execute(GRANT_ADVANCE, row).rowcount == 1
        connection.execute("COMMIT")
        loop.call_soon_threadsafe(settle, works)


_KINDS: Final[dict[str, Callable[..., list[tuple[float, float]]]]] = {
    "rsa-signs": rsa_signs,
    "group-commits": group_commits,
}

if __name__ == "__main__":
    kind, how_long, *rest = machine.pin_as_told()
    sys.stdout.write(msgspec.json.encode(_KINDS[kind](float(how_long), *rest)).decode())
