"""Group commit: who shares a transaction, who fails alone, and who is told what."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mintmark.authority.ports import AlreadyExistsError, StoreUnavailableError
from mintmark.storage.sqlite.connections import connect, connect_writer
from mintmark.storage.sqlite.writer import MAX_BATCH, GroupWriter

pytestmark = pytest.mark.anyio

ADD = "INSERT INTO t VALUES (?1)"


class Bench:
    """A writer on a small table, and what it says to SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.connection = connect_writer(path, busy_timeout=0.05)
        self.connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
        self.connection.set_trace_callback(self.said.append)
        self.writer = GroupWriter(self.connection)

    def kept(self) -> list[int]:
        other = connect(self.path, busy_timeout=1)
        try:
            return [x for (x,) in other.execute("SELECT x FROM t ORDER BY x").fetchall()]
        finally:
            other.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "t.db")
    yield made
    made.writer.close()


def add_two(first: int, second: int) -> object:
    def act(connection: sqlite3.Connection) -> int:
        connection.execute(ADD, (first,))
        connection.execute(ADD, (second,))
        return second

    return act


async def test_what_is_submitted_in_one_turn_shares_a_commit(bench: Bench) -> None:
    assert await asyncio.gather(*(bench.writer.execute(ADD, (number,)) for number in range(64))) == [1] * 64
    assert bench.kept() == list(range(64))
    assert bench.said.count("COMMIT") == 1


async def test_a_batch_has_a_limit(bench: Bench) -> None:
    release, loops = threading.Event(), 3

    def submit() -> None:
        async def many() -> None:
            await asyncio.gather(*(bench.writer.execute("SELECT 1") for _ in range(MAX_BATCH)))

        asyncio.run(many())

    blocked = asyncio.create_task(bench.writer.run(lambda _: release.wait()))
    threads = [threading.Thread(target=submit) for _ in range(loops)]
    for thread in threads:
        thread.start()
    release.set()
    await blocked
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert bench.said.count("COMMIT") >= loops


async def test_a_failing_act_undoes_itself_and_nothing_else(bench: Bench) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute(ADD, (100,))
        raise LookupError("mine")

    outcomes = await asyncio.gather(
        bench.writer.execute(ADD, (1,)),
        bench.writer.run(add_two(2, 1)),  # type: ignore[arg-type]
        bench.writer.run(broken),
        bench.writer.execute(ADD, (1,)),
        bench.writer.execute("INSERT INTO nowhere VALUES (1)"),
        bench.writer.run(add_two(3, 4)),  # type: ignore[arg-type]
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [int, AlreadyExistsError, LookupError, AlreadyExistsError, StoreUnavailableError, int]
    assert bench.kept() == [1, 3, 4]
    assert bench.said.count("COMMIT") == 1


async def test_our_own_mistakes_are_not_called_an_outage(bench: Bench) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        await bench.writer.execute(ADD, ())
    bench.connection.execute("CREATE TABLE strict (x NOT NULL)")
    with pytest.raises(sqlite3.IntegrityError):
        await bench.writer.execute("INSERT INTO strict VALUES (NULL)")


async def test_if_the_commit_fails_nobody_hears_of_success(bench: Bench) -> None:
    bench.connection.execute("PRAGMA foreign_keys = ON")
    bench.connection.execute("CREATE TABLE child (x REFERENCES t (x) DEFERRABLE INITIALLY DEFERRED)")
    outcomes = await asyncio.gather(
        bench.writer.execute(ADD, (1,)),
        bench.writer.execute("INSERT INTO child VALUES (99)"),  # found out at COMMIT only
        bench.writer.execute(ADD, (1,)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
    assert bench.kept() == []
    assert await bench.writer.execute(ADD, (2,)) == 1


async def test_a_full_disk_is_an_outage_and_passes(bench: Bench) -> None:
    bench.connection.execute("CREATE TABLE big (x)")
    bench.connection.execute("PRAGMA max_page_count = 10")
    outcomes = await asyncio.gather(
        bench.writer.execute("INSERT INTO big VALUES (zeroblob(1000000))"),
        bench.writer.run(lambda c: c.execute("INSERT INTO big VALUES (zeroblob(1000000))").rowcount),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert await bench.writer.execute(ADD, (1,)) == 1
    assert bench.kept() == [1]


async def test_an_act_that_loses_the_transaction_takes_its_batch_with_it(bench: Bench) -> None:
    outcomes = await asyncio.gather(
        bench.writer.execute(ADD, (1,)),
        bench.writer.execute("INSERT OR ROLLBACK INTO t VALUES (1)"),  # as SQLite itself may do on an I/O error
        bench.writer.execute(ADD, (2,)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
    assert bench.kept() == []
    assert await bench.writer.execute(ADD, (3,)) == 1


async def test_a_locked_file_is_an_outage_and_passes(bench: Bench) -> None:
    other = connect(bench.path, busy_timeout=0)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        await bench.writer.execute(ADD, (1,))
    other.execute("ROLLBACK")
    other.close()
    assert await bench.writer.execute(ADD, (2,)) == 1
    assert bench.kept() == [2]


async def test_who_gave_up_disturbs_nobody(bench: Bench) -> None:
    release = threading.Event()
    blocked = asyncio.create_task(bench.writer.run(lambda _: release.wait()))
    given_up = asyncio.create_task(bench.writer.execute(ADD, (1,)))
    neighbour = asyncio.create_task(bench.writer.execute(ADD, (2,)))
    await asyncio.sleep(0)
    given_up.cancel()
    release.set()
    assert await neighbour == 1
    await blocked
    assert given_up.cancelled()
    assert bench.kept() == [1, 2]  # it was handed over, so it may have happened


async def test_each_loop_gets_its_own_answers(bench: Bench) -> None:
    def elsewhere(first: int) -> None:
        async def add() -> None:
            assert await asyncio.gather(*(bench.writer.execute(ADD, (first + k,)) for k in range(20))) == [1] * 20

        asyncio.run(add())

    await asyncio.gather(*(asyncio.to_thread(elsewhere, 100 * number) for number in range(4)))
    assert len(bench.kept()) == 80


async def test_a_loop_that_is_gone_disturbs_nobody(bench: Bench) -> None:
    release, is_started = threading.Event(), threading.Event()

    def elsewhere() -> None:
        async def leave() -> None:
            def act(_: sqlite3.Connection) -> None:
                is_started.set()
                release.wait()

            task = asyncio.create_task(bench.writer.run(act))
            await asyncio.to_thread(is_started.wait)
            task.cancel()

        asyncio.run(leave())

    await asyncio.to_thread(elsewhere)
    release.set()
    assert await bench.writer.execute(ADD, (1,)) == 1


async def test_close_finishes_what_was_handed_over(bench: Bench) -> None:
    adding = [asyncio.create_task(bench.writer.execute(ADD, (number,))) for number in range(10)]
    await asyncio.sleep(0)  # they submit
    await asyncio.sleep(0)  # the turn ends, and they are handed over
    bench.writer.close()
    assert await asyncio.gather(*adding) == [1] * 10
    with pytest.raises(StoreUnavailableError, match="closed"):
        await bench.writer.execute(ADD, (11,))
    assert bench.kept() == list(range(10))
