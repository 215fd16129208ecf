"""``python -m bench.cleanup``: half of two million grants expire at once; what refreshing costs while they are removed.

PostgreSQL keeps them; the authority is the real one, cleaning up as it always does. Refreshes arrive at a steady rate,
and each is timed from the moment it was due. First the authority's clock is right and nothing is to be done; then it
starts again with a clock that is a day ahead.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import uvloop
from tests.support.postgres import PostgreSQL, postgresql

from bench import machine, report
from bench.load import CONNECTIONS, Client
from bench.report import Result
from bench.scenarios import SCENARIOS
from bench.seed import Seeds
from mintmark.authority.model import Authorization, Grant
from mintmark.storage import rows

NAME: Final = "refresh p99 beside the cleanup"
TIME: Final = "cleanup of what expired at once"
SIZE: Final = "storage per live grant"
GRANTS: Final = 2_000_000
RATE: Final = 100
"""Refreshes a second: a node at work, with room left."""
QUIET_SECONDS: Final = 30.0

_DAY: Final = 86_400
_DATABASE: Final = "cleanup"
_CHUNK: Final = 100_000
_SETTINGS: Final = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
_LOOK_EVERY: Final = 1.0
_LENGTH: Final = b"ontent-length: "
_INSERT: Final = """
INSERT INTO grants (id, client_id, subject, sid, salt, generation, "authorization", created_at, advanced_at,
  idle_expires_at, expires_at, access_expires_at, replays, sweep_at)
SELECT uuid_send(gen_random_uuid()), 'app-ES256', 'usr_' || {name}, {name}, uuid_send(gen_random_uuid()),
  1 + number % 90, '{authorization}', {now} - 86400 * 20, {now} - number % 86400, {idle}, {now} + 86400 * 30,
  {now} + 900 - number % 86400, 0, {idle}
FROM generate_series(1, {count}) AS number
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
        _fill(server, grants // 2, now, f"{now} + 86400 * 7 + (random() * 604800)::int")
        live = int(_ask(server, "SELECT count(*) FROM grants"))
        per_grant = int(_ask(server, "SELECT pg_total_relation_size('grants')")) / live
        _fill(server, grants // 2, now, f"{now} + 3600")
        machine.pin(machine.LOAD_CORE)
        (scenario,) = (each for each in SCENARIOS if each.name.startswith("refresh ES256"))
        clients = scenario.clients(machine.Server(0, 0), seeds)
        quiet = _quiet(database, clients)
        busy, seconds = _beside_cleanup(server, database, clients, now + 3600)
        kept = int(_ask(server, "SELECT count(*) FROM grants"))
    assert kept == live, f"{kept:,} grants are left of {live:,} that are needed"
    yield Result(NAME, round(busy / quiet, 2), "x quiet", None, None, 2, round(busy, 2))
    yield Result(f"{TIME}, {grants // 2:,}", round(seconds, 1), "s", None, None, None, None)
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
        chunk = min(_CHUNK, count - first)
        server.execute(
            _INSERT.format(name=_NAME, authorization=text, now=now, idle=idle, count=chunk),
            _DATABASE,
        )
    server.execute("VACUUM ANALYZE grants", _DATABASE)
    server.execute("CHECKPOINT", _DATABASE)


def _ask(server: PostgreSQL, question: str) -> str:
    (answer,) = server.execute(question, _DATABASE)
    return answer


def _quiet(database: str, clients: list[Client]) -> float:
    with machine.serving("bench.cleaning", database, "0") as node:
        _say(f"{RATE} refreshes a second for {QUIET_SECONDS:g} s, nothing to clean up")
        return uvloop.run(_p99(node.port, clients, lambda: asyncio.sleep(QUIET_SECONDS)))


def _beside_cleanup(server: PostgreSQL, database: str, clients: list[Client], due: int) -> tuple[float, float]:
    began = time.monotonic()

    def is_due() -> bool:
        return _ask(server, f"SELECT count(*) FROM (SELECT FROM grants WHERE sweep_at <= {due} LIMIT 1) AS one") != "0"

    async def until_clean() -> None:
        while await asyncio.to_thread(is_due):  # noqa: ASYNC110 - PostgreSQL tells nobody
            await asyncio.sleep(_LOOK_EVERY)

    with machine.serving("bench.cleaning", database, str(_DAY)) as node:
        _say(f"{RATE} refreshes a second while half of the grants are removed")
        p99 = uvloop.run(_p99(node.port, clients, until_clean))
        return p99, time.monotonic() - began


@dataclass
class _Connection:
    """One keep-alive connection whose requests have a time at which they are due."""

    client: Client
    latencies: list[float] = field(default_factory=list)
    is_stopping: bool = False

    async def run(self, port: int, first: float, every: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        loop = asyncio.get_running_loop()
        due = first
        try:
            while not self.is_stopping:
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(self.client.request())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                start = head.find(_LENGTH) + len(_LENGTH)
                self.client.answered(await reader.readexactly(int(head[start : head.find(b"\r", start)])))
                self.latencies.append(loop.time() - due)
                due += every
        finally:
            writer.close()


async def _p99(port: int, clients: list[Client], until: Callable[[], Awaitable[None]]) -> float:
    """Return what 99 of 100 refreshes took at most until ``until`` is over, in milliseconds."""
    loop = asyncio.get_running_loop()
    connections = [_Connection(client) for client in clients]
    every = CONNECTIONS / RATE
    async with asyncio.TaskGroup() as group:
        start = loop.time() + 1
        for number, each in enumerate(connections):
            group.create_task(each.run(port, start + number / RATE, every))
        await until()
        for each in connections:
            each.is_stopping = True  # each takes its last answer: in it is the token for the next time
    latencies = sorted(latency for each in connections for latency in each.latencies)
    _say(f"    {len(latencies):,} refreshes, median {latencies[len(latencies) // 2] * 1000:.1f} ms")
    return latencies[int(len(latencies) * 0.99)] * 1000


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
