"""``python -m bench.cleanup``: half of two million grants expire at once; what refreshing costs while they are removed.

PostgreSQL keeps them. One node answers refreshes that arrive at a steady rate, each timed from the moment it was due.
Another, whose clock is a day ahead, cleans up as nodes always do; it is stopped and goes on every few seconds, so that
both figures come from the same minutes of a machine that is never quite alone.
"""

import argparse
import asyncio
import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import uvloop
from tests.support.postgres import PostgreSQL, postgresql

from bench import machine, report
from bench.load import CONNECTIONS, Client
from bench.report import Result
from bench.scenarios import rotating
from bench.seed import Seeds
from mintmark.authority.model import Authorization, Grant
from mintmark.storage import rows

NAME: Final = "refresh p99 beside the cleanup"
TIME: Final = "cleanup of what expired at once"
SIZE: Final = "storage per live grant"
GRANTS: Final = 2_000_000
RATE: Final = 100
"""Refreshes a second: a node at work, with room left."""
WINDOW: Final = 4.0
"""Seconds of cleanup, and of quiet."""

_DAY: Final = 86_400
_DATABASE: Final = "cleanup"
_CLIENT: Final = "app-ES256"
_CHUNK: Final = 100_000
_SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
_LONGEST: Final = 3600.0
_SETTLING: Final = 0.3  # seconds at the beginning of a window that count for neither
_LENGTH: Final = b"ontent-length: "
_INSERT: Final = """
INSERT INTO grants (id, client_id, subject, sid, salt, generation, "authorization", created_at, advanced_at,
  idle_expires_at, expires_at, access_expires_at, replays, sweep_at)
SELECT uuid_send(gen_random_uuid()), 'app-ES256', 'usr_' || {name}, {name}, uuid_send(gen_random_uuid()),
  1 + number % 90, '{authorization}', {now} - 86400 * 20, {now} - number % 86400, {idle}, {now} + 86400 * 30,
  {now} + 900 - number % 86400, 0, {idle}
FROM generate_series({first}::bigint, {last}) AS number
"""
_NAME: Final = "translate(rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '='), '+/', '-_')"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.cleanup", description=__doc__)
    parser.add_argument("--grants", type=int, default=GRANTS, help=f"how many there are (default {GRANTS:,})")
    arguments = parser.parse_args()
    lines = list(map(report.line, measured(arguments.grants)))
    print("\n".join([*machine.description(), "", report.heading(), *lines]))


def measured(grants: int = GRANTS) -> Iterator[Result]:
    """Fill a database with ``grants``, let half of them expire, and yield what refreshing, removing and keeping cost."""
    machine.spread()  # for PostgreSQL
    with postgresql(settings=_SETTINGS) as server:
        database = server.empty_database(_DATABASE)
        seeds = msgspec.convert(machine.ask("bench.seed", database), Seeds)
        now = int(time.time())  # noqa: TID251 - there is no clock port here
        _say(f"filling PostgreSQL with {grants:,} grants")
        # In the order in which people signed in over the last days, as rows are added to a table in earnest.
        _fill(server, grants // 2, now, f"{now} + 86400 * 2 + number * 432000 / {grants // 2}")
        live = int(_ask(server, "SELECT count(*) FROM grants"))
        per_grant = int(_ask(server, "SELECT pg_total_relation_size('grants')")) / live
        _fill(server, grants // 2, now, f"{now} + 3600")
        machine.pin(machine.LOAD_CORE)
        # The one that is to lead comes first.
        with machine.serving("bench.cleaning", database, str(_DAY)) as cleaner:
            began = time.monotonic()
            with machine.serving("bench.cleaning", database, "0") as node:
                found = uvloop.run(_load(server, cleaner, node, seeds, now + 3600, began))
        kept = int(_ask(server, "SELECT count(*) FROM grants"))
    assert kept == live, f"{kept:,} grants are left of {live:,} that are needed"
    ratio, busy = found.median_pair()
    yield Result(NAME, round(ratio, 2), "x quiet", None, None, 2, round(busy, 2))
    yield Result(f"{TIME}, {grants // 2:,}", round(found.seconds, 1), "s", None, None, None, None)
    yield Result(SIZE, round(per_grant), "bytes", None, None, 400, None)


def _fill(server: PostgreSQL, count: int, now: int, idle: str) -> None:
    """Insert grants as they are in the middle of their lives, which may stay unused until ``idle``."""
    authorization = Authorization(
        scope=("orders:read", "orders:write", "offline_access"),
        resources=("https://api.example",),
        auth_time=now,
        acr="pwd",
        amr=("pwd",),
    )
    numbers: dict[str, Any] = {"generation": 1, "created_at": 0, "advanced_at": 0, "idle_expires_at": 0}
    example = Grant(
        id=bytes(16),
        client_id="",
        subject="",
        sid=None,
        salt=bytes(16),
        authorization=authorization,
        binding=None,
        expires_at=0,
        **numbers,
    )
    text = str(rows.grant_to_row(example)[6])
    for first in range(0, count, _CHUNK):
        last = min(first + _CHUNK, count) - 1
        server.execute(
            _INSERT.format(name=_NAME, authorization=text, now=now, idle=idle, first=first, last=last), _DATABASE
        )
    server.execute("VACUUM ANALYZE grants", _DATABASE)
    server.execute("CHECKPOINT", _DATABASE)


def _ask(server: PostgreSQL, question: str) -> str:
    (answer,) = server.execute(question, _DATABASE)
    return answer


@dataclass
class _Found:
    """What the load found.

    Attributes:
        windows: Latencies in seconds: with the cleanup beside, without, with …
        seconds: How long the cleanup took, without its pauses.
    """

    windows: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    def median_pair(self) -> tuple[float, float]:
        """Return, of the pair of windows in the middle, the ratio of what 99 of 100 took at most, and the greater in ms.

        Something else on the machine spoils the window it falls into, not the figure.
        """
        tops = [sorted(window)[int(len(window) * 0.99)] * 1000 for window in self.windows if window]
        pairs = sorted((busy / quiet, busy) for busy, quiet in zip(tops[::2], tops[1::2], strict=False))
        for kind, first in (("beside the cleanup", 0), ("without it", 1)):
            latencies = sorted(itertools.chain(*self.windows[first::2]))
            middle = latencies[len(latencies) // 2] * 1000
            _say(
                f"    {len(latencies):,} refreshes {kind}, median {middle:.1f} ms, p99 of windows {_listed(tops[first::2])}"
            )
        return pairs[len(pairs) // 2]


@dataclass
class _Run:
    """What all connections share: what was found, and since when the window lasts."""

    found: _Found = field(default_factory=_Found)
    since: float = math.inf
    is_stopping: bool = False

    async def window(self) -> None:
        """Gather the latencies of a window."""
        self.found.windows.append([])
        self.since = asyncio.get_running_loop().time()
        await asyncio.sleep(WINDOW)

    async def connection(self, port: int, client: Client, first: float, every: float) -> None:
        """Refresh on one connection, each time when it is due."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        loop = asyncio.get_running_loop()
        due = first
        while not self.is_stopping:
            await asyncio.sleep(max(0.0, due - loop.time()))
            writer.write(client.request())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            start = head.find(_LENGTH) + len(_LENGTH)
            client.answered(await reader.readexactly(int(head[start : head.find(b"\r", start)])))
            if due > self.since + _SETTLING:
                self.found.windows[-1].append(loop.time() - due)
            due += every
        writer.close()


async def _load(
    server: PostgreSQL, cleaner: machine.Server, node: machine.Server, seeds: Seeds, due: int, began: float
) -> _Found:
    """Load ``node`` until ``cleaner`` has removed what is ``due``, in windows with and without its work."""
    question = f"SELECT count(*) FROM (SELECT FROM grants WHERE sweep_at <= {due} LIMIT 1) AS one"
    clients = rotating(seeds, _CLIENT, seeds.refresh_tokens[_CLIENT], CONNECTIONS)
    loop = asyncio.get_running_loop()
    run = _Run()
    paused = 0.0
    _say(f"{RATE} refreshes a second while half of the grants are removed")
    async with asyncio.timeout(_LONGEST), asyncio.TaskGroup() as group:
        start = loop.time()
        for number, client in enumerate(clients):
            group.create_task(run.connection(node.port, client, start + number / RATE, CONNECTIONS / RATE))
        await asyncio.sleep(WINDOW)
        while await asyncio.to_thread(_ask, server, question) != "0":
            await run.window()
            os.kill(cleaner.pid, signal.SIGSTOP)
            await run.window()
            os.kill(cleaner.pid, signal.SIGCONT)
            paused += WINDOW
        run.is_stopping = True
    run.found.seconds = time.monotonic() - began - paused
    return run.found


def _listed(numbers: list[float]) -> str:
    return " ".join(f"{number:.0f}" for number in numbers)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
