"""Nodes on PostgreSQL: how fast, how two of them add up, and what many grants cost. ``python -m bench.postgres`` by itself."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec
from tests.support.postgres import PostgreSQL, binary, postgresql

from bench import machine, report
from bench.load import Client, Measured, measure
from bench.machine import Server
from bench.postgres_seed import CLIENT, GROWN
from bench.report import Result, compared
from bench.scenarios import client_credentials, refresh, rotating
from bench.seed import Seeds

NAME: Final = "PostgreSQL"
MANY_GRANTS: Final = 5_000_000
FEW_GRANTS: Final = 10_000
ROUNDS: Final = 3
GROWTH_ROUNDS: Final = 5
_GROWTH_CONNECTIONS: Final = 4
"""Few: with 32 it would be the queue before the server whose length is measured."""
_GROWTH_TIMES: Final = 4
"""So many times longer, for enough answers among the slowest hundredth."""
_SETTINGS: Final = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",  # one in the middle would be in one measurement and not in the other
}


@dataclass(frozen=True)
class Scenario:
    """Two lines of the table, with one node and with two.

    Attributes:
        name: As in the table.
        limit: What it is compared with.
        goal: The ratio to reach.
        clients: Makes what each connection sends.
        waits: Whether it waits for the disk, so that its figures are by the clock.
    """

    name: str
    limit: Literal["RSA signs", "bare ASGI", "single updates"]
    goal: float
    clients: Callable[[Server, Seeds], list[Client]]
    waits: bool = False

    def rate(self, found: Measured) -> float:
        """Return the figure of a measurement."""
        return found.rate if self.waits else found.rate_of_core


_SCENARIOS: Final = (
    Scenario("client_credentials RS256", "RSA signs", 0.75, client_credentials("RS256")),
    Scenario("client_credentials ES256", "bare ASGI", 0.30, client_credentials("ES256")),
    Scenario("refresh RS256", "RSA signs", 0.60, refresh("app-RS256")),
    Scenario("refresh ES256", "single updates", 0.45, refresh("app-ES256"), waits=True),
)


def main() -> None:
    """Run these benchmarks alone; nothing is saved."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.2, help="length of one measurement (default 1.2)")
    parser.add_argument("--grants", type=int, default=MANY_GRANTS, help=f"many grants (default {MANY_GRANTS:,})")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios with this in their name")
    arguments = parser.parse_args()
    say("\n".join(machine.description()))
    results = list(measured(arguments.seconds, arguments.only, grants=arguments.grants))
    print("\n".join([report.heading(), *map(report.line, results)]))


def say(text: str) -> None:
    """Tell how it goes on, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def measured(seconds: float, only: str, *, grants: int = MANY_GRANTS) -> Iterator[Result]:
    """Measure what has ``only`` in its name, on a PostgreSQL server beside the load."""
    wanted = [scenario for scenario in _SCENARIOS if only in f"{scenario.name}, {NAME}, 2 nodes against 1"]
    growth = f"refresh p99, {NAME}, {grants:,} grants"
    if not wanted and only not in growth:
        return
    if not is_there():
        say(f"  {NAME}: left out, it is not on this machine")
        return
    machine.pin(machine.LOAD_CORE)  # and the database with this process
    with postgresql(settings=_SETTINGS) as server:
        if wanted:
            yield from _rates(server, wanted, seconds)
        if only in growth:
            yield from _growth(server, growth, seconds, grants)


def is_there() -> bool:
    """Tell whether a server can be started."""
    try:
        return bool(binary("postgres"))
    except AssertionError:
        return False


def _rates(server: PostgreSQL, wanted: list[Scenario], seconds: float) -> Iterator[Result]:
    url = server.empty_database("rates")
    seeds = msgspec.convert(machine.ask("bench.seed", url), Seeds)
    with (
        machine.serving("bench.server", url) as one,
        machine.serving("bench.server", url) as other,
        machine.serving("bench.bare") as bare,
    ):
        two = replace(one, beside=(other.pid,), further_ports=(other.port,))
        for scenario in wanted:
            yield from _scenario(scenario, (one, two), bare, url, seeds, seconds)


def _scenario(
    scenario: Scenario, nodes: tuple[Server, Server], bare: Server, url: str, seeds: Seeds, seconds: float
) -> Iterator[Result]:
    clients = scenario.clients(nodes[0], seeds)
    rounds: list[list[tuple[float, float, float | None]]] = [[], []]
    for _ in range(ROUNDS):
        limit = _limit(scenario, bare, clients, url, seconds)
        for server, found_so_far in zip(nodes, rounds, strict=True):
            found = measure(server, clients, seconds)
            found_so_far.append((scenario.rate(found), limit, found.p99_ms))
            say(
                f"    {scenario.name}, {1 + len(server.beside)} node(s): {found.rate:,.0f}/s, nodes {found.server_busy:.0%} "
                f"busy, load {found.load_busy:.0%} busy, {scenario.limit} {limit:,.0f}/s"
            )
    yield compared(f"{scenario.name}, {NAME}", "req/s", rounds[0], scenario.goal)
    yield compared(f"{scenario.name}, {NAME}, 2 nodes", "req/s", rounds[1], scenario.goal)
    if not scenario.waits:
        gains = [(2 * both[0] / alone[0], 2.0, None) for alone, both in zip(*rounds, strict=True)]
        goal = 0.9 if scenario.name == "refresh RS256" else None
        yield compared(f"{scenario.name}, 2 nodes against 1", "times", gains, goal)


def _limit(scenario: Scenario, bare: Server, clients: list[Client], url: str, seconds: float) -> float:
    match scenario.limit:
        case "bare ASGI":
            return measure(bare, clients, seconds).rate_of_core
        case "RSA signs":
            ((rate, _),) = machine.ask("bench.direct", "rsa-signs", str(seconds))
            return float(rate)
        case "single updates":
            return float(machine.ask("bench.postgres_direct", url, str(seconds)))


def _growth(server: PostgreSQL, name: str, seconds: float, grants: int) -> Iterator[Result]:
    """Refresh a sample of few and of many grants in turn, and compare what 99 of 100 answers took at most."""
    with contextlib.ExitStack() as stack:
        loads = []
        for count in (FEW_GRANTS, grants):
            say(f"filling a database with {count:,} grants")
            url = server.empty_database(f"with_{count}")
            seeds = msgspec.convert(machine.ask("bench.postgres_seed", url, str(count)), Seeds)
            node = stack.enter_context(machine.serving("bench.server", url))
            clients = rotating(seeds, CLIENT, seeds.refresh_tokens[GROWN], _GROWTH_CONNECTIONS)
            loads.append((node, clients))
            (size,) = server.execute("SELECT pg_total_relation_size('grants') / count(*) FROM grants", f"with_{count}")
            say(f"    {size} bytes for each grant, indexes included")
        pairs = []
        for _ in range(GROWTH_ROUNDS):
            few, many = (measure(node, clients, _GROWTH_TIMES * seconds) for node, clients in loads)
            say(f"    p99 {few.p99_ms:.2f} ms of {few.rate:,.0f}/s, {many.p99_ms:.2f} ms of {many.rate:,.0f}/s")
            pairs.append((many.p99_ms / few.p99_ms, many.p99_ms))
    ratio, p99 = sorted(pairs)[len(pairs) // 2]
    yield Result(name, round(ratio, 2), "times", None, None, 1.5, round(p99, 3))


if __name__ == "__main__":
    main()
