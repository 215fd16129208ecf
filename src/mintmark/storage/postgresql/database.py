"""Reads and writes, each carried out whole, again where that is safe, and in bounded time.

1. A read, and a transaction up to its COMMIT, is done again on another connection when the one it was on is lost, and
   when the server rolled it back for the sake of others.
2. A write that was sent and not answered is not. Nobody knows whether it was committed.
3. Nothing begins again after ``PATIENCE``, and nothing lasts longer than ``LIMIT``: whoever waits is a request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.pool import Pool
from mintmark.storage.rows import Parameters, Row

Item = TypeVar("Item")
Result = TypeVar("Result")
Act = Callable[[Connection], Awaitable[Result]]
"""What happens in one transaction. May be called several times; only the last one counts."""

PATIENCE: Final = 2.0
"""Seconds after which nothing is tried again."""
LIMIT: Final = 5.0
"""Seconds after which the answer is that there is none."""
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25


class Database:
    """Carries out statements on the connections of a pool.

    Args:
        pool: Of this process.
        renew: Replaces the connections of all its pools.
        spare: Does the reads that there is no connection for here, since the server has no room for a further one.
    """

    def __init__(self, pool: Pool, *, renew: Callable[[], None], spare: "Database | None" = None) -> None:
        self._pool = pool
        self._renew = renew
        self._spare = spare
        self._time = asyncio.get_running_loop().time

    async def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows of a statement.

        Raises:
            StoreUnavailableError: There is no answer.
        """
        return await self._carry_out(lambda connection: connection.rows(statement, parameters))

    async def read(self, act: Act[Result]) -> Result:
        """Run ``act``, which only reads, outside a transaction.

        Raises:
            StoreUnavailableError: There is no answer.
        """
        return await self._carry_out(act)

    async def first(self, statement: str, parameters: Parameters, read: Callable[[Row], Item]) -> Item | None:
        """Return what ``read`` makes of the first row.

        Raises:
            StoreUnavailableError: There is no answer.
        """
        rows = await self.rows(statement, parameters)
        return read(rows[0]) if rows else None

    async def every(self, statement: str, parameters: Parameters, read: Callable[[Row], Item]) -> list[Item]:
        """Return what ``read`` makes of each row.

        Raises:
            StoreUnavailableError: There is no answer.
        """
        return [read(row) for row in await self.rows(statement, parameters)]

    async def execute(self, statement: str, parameters: Parameters = ()) -> int:
        """Run one statement, which is a transaction of its own; return how many rows it touched.

        Raises:
            StoreUnavailableError: It was not committed, or nobody knows.
            AlreadyExistsError: A name is taken.
        """
        return await self._carry_out(lambda connection: connection.execute_alone(statement, parameters))

    async def run(self, act: Act[Result], *, limit: float = LIMIT) -> Result:
        """Run ``act`` in one transaction: all of it or nothing.

        Raises:
            StoreUnavailableError: It was not committed, or nobody knows.
            AlreadyExistsError: A name is taken.
        """

        async def transact(connection: Connection) -> Result:
            await connection.begin()
            try:
                result = await act(connection)
            except Exception:
                await connection.roll_back()
                raise
            await connection.commit()
            return result

        return await self._carry_out(transact, limit=limit)

    async def _carry_out(self, work: Act[Result], *, limit: float = LIMIT) -> Result:
        give_up_at, pause = self._time() + PATIENCE, _FIRST_PAUSE
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        return await self._try(work)
                    except errors.FAILURES as error:
                        if self._spare is not None and isinstance(error, errors.NoRoomError):
                            return await self._spare.read(work)
                        if not errors.may_try_again(error) or self._time() + pause > give_up_at:
                            errors.tell(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except TimeoutError as error:
            # The server, or the way to it, hangs; another may be there already.
            self._renew()
            raise StoreUnavailableError(f"PostgreSQL did not answer within {limit:g} s") from error

    async def _try(self, work: Act[Result]) -> Result:
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        except errors.FAILURES as error:
            if errors.code_of(error) == errors.READ_ONLY:
                self._renew()
            raise
        except asyncio.CancelledError:
            connection.give_up()
            raise
        finally:
            self._pool.release(connection)
