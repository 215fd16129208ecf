"""``make bench``: measure, print the table of figures and goals with today's figures, and write ``results.json``."""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from bench import cleanup, guard, machine, postgres, report, revocations
from bench.load import Client, Measured, measure
from bench.ready import seconds_until_ready
from bench.report import Result, compared
from bench.scenarios import SCENARIOS, Scenario
from bench.seed import GRANTS, Seeds
from bench.verifying import WORKING_SET, Rates

ROUNDS: Final = 3
MEMORY: Final = "memory of a serving process"
READY: Final = "`mintmark dev` ready"
VERIFY: Final = "verify RS256, uncached"
CACHED: Final = "verify RS256, cached"


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.2, help="length of one measurement (default 1.2)")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios with this in their name; saves nothing")
    arguments = parser.parse_args()
    machine.pin(machine.LOAD_CORE)
    about = machine.description()
    say("\n".join(about))
    results = []
    with TemporaryDirectory(prefix="mintmark-bench-") as directory:
        for result in measured(Path(directory), arguments.seconds, arguments.only):
            say(f"  {report.line(result)}")
            results.append(result)
    print("\n".join(["", *about, "", report.heading(), *map(report.line, results)]))
    if not arguments.only:
        report.save(results)
        say(f"\nwritten to {report.RESULTS.relative_to(machine.ROOT)}")


def say(text: str) -> None:
    """Tell how it goes on, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def measured(directory: Path, seconds: float, only: str) -> Iterator[Result]:
    """Measure every scenario with ``only`` in its name."""
    wanted = [scenario for scenario in SCENARIOS if only in scenario.name]
    if wanted or only in MEMORY:
        yield from _over_http(directory, wanted, seconds, is_memory_wanted=only in MEMORY)
    if only in VERIFY or only in CACHED:
        yield from _verifications(seconds)
    if only in revocations.NAME:
        yield from revocations.measured(directory)
    if only in revocations.SNAPSHOT:
        yield from revocations.snapshots(directory)
    if only in cleanup.NAME:
        yield from cleanup.measured()
    if only in guard.NAME:
        yield from guard.measured(directory, seconds)
    yield from postgres.measured(seconds, only)
    if only in READY:
        ready = seconds_until_ready(directory)
        if ready is None:
            say(f"  {READY}: left out, it does not get ready")
        else:
            yield Result(READY, round(ready, 2), "s", None, None, 3, None)


def _over_http(
    directory: Path, scenarios: list[Scenario], seconds: float, *, is_memory_wanted: bool
) -> Iterator[Result]:
    database, copy = directory / "bench.sqlite3", directory / "limit.sqlite3"
    say(f"filling a database with {3 * GRANTS:,} grants")
    seeds = msgspec.convert(machine.ask("bench.seed", str(database)), Seeds)
    shutil.copy(database, copy)
    with machine.serving("bench.server", str(database)) as server, machine.serving("bench.bare") as bare:
        for scenario in scenarios:
            clients = scenario.clients(server, seeds)
            rounds = []
            for _ in range(ROUNDS):
                limit = _limit(scenario, bare, clients, seconds, copy)
                found = measure(server, clients, seconds)
                rate = found.rate if scenario.limit == "group commits" else found.rate_of_core
                rounds.append((rate, limit, found.p99_ms))
                say(f"    {scenario.name}: {_progress(found)}, {scenario.limit} {limit:,.0f}/s")
            yield compared(scenario.name, "req/s", rounds, scenario.goal)
        if is_memory_wanted:
            yield Result(MEMORY, round(machine.resident_mb(server.pid), 1), "MB", None, None, 90, None)


def _limit(scenario: Scenario, bare: machine.Server, clients: list[Client], seconds: float, copy: Path) -> float:
    match scenario.limit:
        case "bare ASGI":
            return measure(bare, clients, seconds).rate_of_core
        case "RSA signs":
            return _direct("rsa-signs", seconds)[0][0]
        case "group commits":
            return _direct("group-commits", seconds, str(copy))[0][0]


def _progress(found: Measured) -> str:
    return f"{found.rate:,.0f}/s, server {found.server_busy:.0%} busy, load {found.load_busy:.0%} busy"


def _verifications(seconds: float) -> Iterator[Result]:
    say(f"signing {WORKING_SET:,} tokens, three times")
    rounds = [Rates(**machine.ask("bench.verifying", str(seconds / 2))) for _ in range(ROUNDS)]
    uncached = [(one.uncached, one.bare, None) for one in rounds]
    yield compared(VERIFY, "ops/s", uncached, 0.5)
    at_best = [(one.uncached_at_best, one.bare_at_best, None) for one in rounds]
    yield compared(f"{VERIFY}, fastest turn", "ops/s", at_best, 0.5)
    yield compared(f"{VERIFY}, against PyJWT", "ops/s", [(one.uncached, one.pyjwt, None) for one in rounds], 2)
    yield compared(CACHED, "ops/s", [(one.cached, one.bare, None) for one in rounds], 20)
    crowded = [(one.cached_beside_revocations, one.bare, None) for one in rounds]
    yield compared(f"{CACHED}, 100,000 revoked", "ops/s", crowded, 20)


def _direct(kind: str, seconds: float, *rest: str) -> list[tuple[float, float]]:
    return msgspec.convert(machine.ask("bench.direct", kind, str(seconds), *rest), list[tuple[float, float]])


if __name__ == "__main__":
    main()
