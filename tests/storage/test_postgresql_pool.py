"""The pool and its connections without a server: what they do when it takes no further connection, or never answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql import connections
from mintmark.storage.postgresql import pool as module
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.errors import LostConnectionError, NoRoomError
from mintmark.storage.postgresql.pool import Pool

pytestmark = pytest.mark.anyio


class Raw:
    """A connection of asyncpg that is open and does nothing."""

    def __init__(self) -> None:
        self.is_terminated = False
        self._transport = self

    def is_closed(self) -> bool:
        return False

    def is_in_transaction(self) -> bool:
        return False

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's signature
        """Answer at once."""

    def terminate(self) -> None:
        self.is_terminated = True

    def abort(self) -> None:
        """Nothing is to be aborted here."""


class HangingRaw(Raw):
    """One whose server has stopped: nothing that was asked of it ends.

    Args:
        is_deaf: Whether to cancel it does not help either, as where a library swallows that.
    """

    def __init__(self, *, is_deaf: bool) -> None:
        super().__init__()
        self.over = asyncio.Event()
        self.is_aborted = False
        self._is_deaf = is_deaf

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109
        while not self.over.is_set():
            try:
                await self.over.wait()
            except asyncio.CancelledError:
                if not self._is_deaf:
                    raise

    def terminate(self) -> None:
        """As asyncpg 0.30: nothing happens, since it is closing already."""

    def abort(self) -> None:
        self.is_aborted = True


class RefusingRaw(Raw):
    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109
        raise OSError("broken")


class Server:
    """Takes so many connections and no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked = 0
        self.make: Callable[[], Any] = Raw
        self.raws: list[Any] = []

    async def dial(self) -> Connection:
        self.asked += 1
        await asyncio.sleep(0)
        if self.room <= 0:
            raise NoRoomError("too many connections for role")
        self.room -= 1
        self.raws.append(self.make())
        return Connection(self.raws[-1], is_pooled=False)


@pytest.fixture(params=[True, False], ids=["deaf", "hanging"])
async def hanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that hangs as soon as connections are made."""
    monkeypatch.setattr(connections, "_BURY_SECONDS", 0.05)
    monkeypatch.setattr(module, "_FINISH_SECONDS", 0.1)
    server = Server(10)
    server.make = lambda: HangingRaw(is_deaf=request.param)
    yield server
    for raw in server.raws:
        raw.over.set()


async def within(seconds: float, work: Any) -> None:
    """Await something that must end soon, and give it up even if it does not listen."""
    done, _ = await asyncio.wait({asyncio.ensure_future(work)}, timeout=seconds)
    assert done, "it does not end"
    done.pop().result()


# Ends in bounded time


async def test_a_connection_ends_although_its_server_hangs(hanging: Server) -> None:
    connection = await hanging.dial()
    await within(1, connection.close())
    assert hanging.raws[0].is_aborted


async def test_a_pool_ends_although_its_server_hangs(hanging: Server) -> None:
    pool = Pool(hanging.dial, 3)
    busy, idle = await pool.acquire(), await pool.acquire()
    pool.release(idle)
    await within(1, pool.close())
    assert [raw.is_aborted for raw in hanging.raws] == [True, True]
    pool.release(busy)


async def test_a_pool_ends_whatever_its_connections_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Connection) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "_FINISH_SECONDS", 0.05)
    monkeypatch.setattr(module, "_BURY_SECONDS", 0.05)
    monkeypatch.setattr(Connection, "close", never)
    pool = Pool(Server(1).dial, 1)
    pool.release(await pool.acquire())
    await within(1, pool.close())


async def test_a_connection_that_cannot_be_closed_is_terminated() -> None:
    raw = RefusingRaw()
    await Connection(raw, is_pooled=False).close()
    assert raw.is_terminated


async def test_a_connection_that_ends_well_is_not_terminated() -> None:
    """The positive twin: the server is told, and does not log that a client went away."""
    raw = Raw()
    await Connection(raw, is_pooled=False).close()
    assert not raw.is_terminated


# The server has no room


async def test_without_room_those_that_there_are_serve_everybody() -> None:
    server = Server(3)
    pool = Pool(server.dial, 10)
    served = 0

    async def work() -> None:
        nonlocal served
        for _ in range(20):
            try:
                connection = await pool.acquire()
            except NoRoomError:  # refused before any was there: the caller tries again
                await asyncio.sleep(0.01)
                continue
            await asyncio.sleep(0)
            pool.release(connection)
            served += 1

    await asyncio.gather(*(work() for _ in range(40)))
    assert served >= 40 * 19
    assert server.asked <= 10 + 3  # the first ten at once, and what the last success among them invites
    await pool.close()


async def test_a_full_server_is_asked_again_after_a_while_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_SECONDS", 0.1)
    server = Server(1)
    pool = Pool(server.dial, 10)
    held = await pool.acquire()
    waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.05)
    asked = server.asked
    assert not any(each.done() for each in waiting)
    await asyncio.sleep(0.1)
    late = [asyncio.ensure_future(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert server.asked == asked + 1
    server.room = 9
    await asyncio.sleep(0.1)
    found = await pool.acquire()  # one asks, and with the room there is, all who wait get theirs
    await within(1, asyncio.gather(*waiting, *late))
    assert pool.usage == {"busy": 8, "idle": 0, "size": 10, "waiting": 0}
    for each in (held, found, *(task.result() for task in [*waiting, *late])):
        pool.release(each)
    await pool.close()


async def test_without_room_and_without_any_nobody_waits_for_nothing() -> None:
    server = Server(0)
    pool = Pool(server.dial, 2)
    for _ in range(3):
        with pytest.raises(NoRoomError, match="too many connections"):
            await pool.acquire()
    assert server.asked == 1
    await pool.close()


async def test_a_connection_that_ends_makes_room() -> None:
    server = Server(1)
    pool = Pool(server.dial, 2)
    held = await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0.01)
    held.give_up()
    server.room = 1
    pool.release(held)
    await within(0.5, waiting)
    pool.release(waiting.result())
    await pool.close()


async def test_who_waits_too_long_learns_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    pool = Pool(Server(1).dial, 2)
    held = await pool.acquire()
    with pytest.raises(StoreUnavailableError, match=r"all 1 connections .* takes no further one: too many"):
        await pool.acquire()
    pool.release(held)
    await pool.close()


async def test_a_server_that_is_away_is_asked_each_time() -> None:
    """It is not full: whoever asks finds it as soon as it is back."""
    asked = 0

    async def dial() -> Connection:
        nonlocal asked
        asked += 1
        raise LostConnectionError("away")

    pool = Pool(dial, 2)
    for _ in range(3):
        with pytest.raises(LostConnectionError):
            await pool.acquire()
    assert asked == 3
    await pool.close()
