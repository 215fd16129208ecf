"""Every adapter: who follows the revocations by their cursors misses none, however many write (`Revocations.after`)."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.storage.store_things import NOW, event, revocation

from mintmark.authority.ports import Store
from mintmark.oauth.revocations import Revocation
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore

pytestmark = pytest.mark.anyio

PROCESSES = 3
EACH = 150


async def follow(store: Store, is_over: Callable[[], bool]) -> list[Revocation]:
    """Read on from the last cursor until all is said; return everything, in the order in which it came."""
    seen: list[Revocation] = []
    was_over = False
    while True:
        page = await store.revocations.after(seen[-1].cursor if seen else 0, 7)
        seen += page
        if not page and was_over:
            return seen
        # Asked before the next reading, so that nothing written in between is taken for late.
        was_over = is_over()
        await asyncio.sleep(0)


async def assert_complete(store: Store, seen: list[Revocation], names: set[str]) -> None:
    cursors = [entry.cursor for entry in seen]
    assert cursors == sorted(set(cursors))
    # As it reads now, from the start: what is there now and was not seen then appeared below a cursor returned before.
    assert await store.revocations.after(0, len(names) + 1) == seen
    assert {entry.value for entry in seen} == names


async def add(store: Store, names: list[str]) -> None:
    for name in names:
        await store.revocations.add(revocation(name), event())
        await asyncio.sleep(0)


@pytest.mark.spec("invariant I6")
async def test_many_tasks_write_while_one_reads(store: Store) -> None:
    lanes = [[f"lane{lane}-{number}" for number in range(40)] for lane in range(8)]
    writing = asyncio.gather(*(add(store, names) for names in lanes))
    seen = await follow(store, writing.done)
    await writing
    await assert_complete(store, seen, {name for names in lanes for name in names})


def start(command: list[str], prefix: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([*command, prefix, str(EACH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def write_in_processes(path: Path) -> None:
    """Write to one SQLite file from processes of their own, none of which begins its second half before all did the first."""
    command = [sys.executable, "-m", "tests.storage.children", "revoke_many", str(path)]
    children = [start(command, f"p{number}-") for number in range(PROCESSES)]
    for _half in range(2):
        for child in children:
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
    for child in children:
        await asyncio.to_thread(child.communicate)
        assert child.returncode == 0


@pytest.mark.slow
@pytest.mark.spec("invariant I6")
async def test_many_processes_write_while_one_reads(tmp_path: Path) -> None:
    """Commits of several processes on one file: an entry that commits late is not below what was read before."""
    path = tmp_path / "mintmark.db"
    store = SQLiteStore.open(path, now=NOW)
    try:
        writing = asyncio.create_task(write_in_processes(path))
        seen = await follow(store, writing.done)
        await writing
        await assert_complete(store, seen, {f"p{child}-{n}" for child in range(PROCESSES) for n in range(EACH)})
        # Not one after the other: what came of one stands between what came of another.
        owners = [entry.value.partition("-")[0] for entry in seen]
        assert sum(one != other for one, other in pairwise(owners)) > PROCESSES
    finally:
        await store.close()


async def test_the_test_notices_an_entry_that_is_late() -> None:
    """A store that gives its cursors out before it commits, as sequences of many databases do, must not pass."""
    store = MemoryStore()
    await add(store, ["first"])
    tables = store._disk.tables
    tables.cursors["last"] += 1
    late = tables.cursors["last"]
    await add(store, ["third"])
    seen = await follow(store, lambda: True)
    tables.revocations = dict(
        sorted({**tables.revocations, late: Revocation(kind="jti", value="late", expires_at=1, cursor=late)}.items())
    )
    seen += await store.revocations.after(seen[-1].cursor, 10)
    with pytest.raises(AssertionError):
        await assert_complete(store, seen, {"first", "late", "third"})
