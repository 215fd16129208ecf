"""One connection to PostgreSQL, directly or through a pooler such as PgBouncer in transaction mode.

1. A statement is prepared once for each connection. Directly, under a name: afterwards it costs one round trip and no
   planning.
2. A pooler gives each transaction any of its own connections, so what was prepared is not there the next time. Behind
   one a statement is only described, inside a transaction; afterwards its text, its values and the end of the
   transaction go out as one message, which a pooler cannot part. That is one round trip as well.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, cast

import asyncpg

from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.errors import LostConnectionError, UnknownOutcomeError
from mintmark.storage.rows import Row

# A node that stands still in the middle must not hold its rows for longer than others are ready to wait.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 5000"
_BURY_SECONDS: Final = 2.0
"""How long a connection that is let go of may take to have its statement cancelled."""
_GRACE_SECONDS: Final = 0.2
"""How much longer we wait for asyncpg to notice that itself."""


@cache
def numbered(statement: str) -> str:
    """Return a portable statement as PostgreSQL numbers its parameters: ``$1`` for ``?1``."""
    return statement.replace("?", "$")


class Connection:
    """One connection; used by one task at a time.

    Every verb may raise ``asyncpg.PostgresError``, which is the server's answer that nothing was done, and
    ``LostConnectionError``.

    Args:
        raw: Of asyncpg, without a statement cache.
        is_pooled: Whether a pooler is in between.

    Attributes:
        is_pooled: As given.
    """

    __slots__ = ("_is_broken", "_raw", "_statements", "is_pooled")

    def __init__(self, raw: Any, *, is_pooled: bool) -> None:
        self._raw = raw
        self.is_pooled = is_pooled
        self._is_broken = False
        self._statements: dict[str, Any] = {}

    @property
    def is_usable(self) -> bool:
        """Tell whether it is open and in no transaction."""
        return not (self._is_broken or self._raw.is_closed() or self._raw.is_in_transaction())

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a portable statement."""
        prepared = self._statements.get(statement) or await self._prepare(statement)
        try:
            return cast("list[Row]", await prepared.fetch(*parameters))
        except Exception as error:
            self._judge(error)
            raise

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run a portable statement inside a transaction; return how many rows it touched."""
        prepared = self._statements.get(statement) or await self._prepare(statement)
        try:
            await prepared.fetch(*parameters)
        except Exception as error:
            self._judge(error)
            raise
        return int(prepared.get_statusmsg().rpartition(" ")[2])

    async def execute_alone(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run a portable statement that is a transaction of its own; return how many rows it touched.

        Raises:
            UnknownOutcomeError: It was sent, and no answer came.
        """
        if statement not in self._statements:
            await self._prepare(statement)
        if self._raw.is_closed():
            raise LostConnectionError("the connection was closed")
        try:
            return await self.execute(statement, parameters)
        except LostConnectionError as error:
            raise UnknownOutcomeError(errors.said(error)) from error

    async def execute_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a portable statement for each of ``rows`` inside a transaction, in one round trip."""
        given = list(rows)
        if not given:
            return
        prepared = self._statements.get(statement) or await self._prepare(statement)
        try:
            await prepared.executemany(given)
        except Exception as error:
            self._judge(error)
            raise

    async def run(self, script: str) -> str:
        """Run SQL without parameters; return what the server says of its last statement."""
        try:
            return cast("str", await self._raw.execute(script))
        except Exception as error:
            self._judge(error)
            raise

    async def begin(self) -> None:
        """Begin a transaction."""
        await self.run(_BEGIN)

    async def commit(self) -> None:
        """Commit the transaction.

        Raises:
            UnknownOutcomeError: No answer came.
        """
        try:
            done = await self.run("COMMIT")
        except LostConnectionError as error:
            raise UnknownOutcomeError(errors.said(error)) from error
        if done != "COMMIT":
            raise LostConnectionError(f"COMMIT was answered with {done}")

    async def roll_back(self) -> None:
        """Undo the transaction. A server that cannot be told does so when the connection ends."""
        try:
            await self.run("ROLLBACK")
        except errors.FAILURES:
            self._is_broken = True

    def give_up(self) -> None:
        """Note that it cannot be used again: nobody knows what is under way on it."""
        self._is_broken = True

    async def close(self) -> None:
        """Cancel what is under way and end it; never raises, and takes no longer than a moment."""
        # A task that we stop waiting for: some versions of asyncpg wait for the server without a limit, and what is
        # cancelled on Python 3.11 may go on all the same.
        closing: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._raw.close(timeout=_BURY_SECONDS))
        closing.add_done_callback(_look_at)
        try:
            await asyncio.wait({closing}, timeout=_BURY_SECONDS + _GRACE_SECONDS)
        finally:
            if not closing.done() or closing.cancelled() or closing.exception() is not None:
                closing.cancel()
                self._hang_up()

    def _hang_up(self) -> None:
        """Let go of the socket at once."""
        # What asyncpg is already closing, some versions do not terminate: the socket would stay until the process ends.
        transport = getattr(self._raw, "_transport", None)
        with contextlib.suppress(Exception):  # it is over, whatever this was
            self._raw.terminate()
        if transport is not None:
            transport.abort()

    async def _prepare(self, statement: str) -> Any:
        text, name = numbered(statement), "" if self.is_pooled else f"mintmark_{len(self._statements)}"
        is_alone = self.is_pooled and not self._raw.is_in_transaction()
        if is_alone:
            await self.begin()
        try:
            prepared = await self._raw.prepare(text, name=name)
        except Exception as error:
            self._judge(error)
            if is_alone:
                await self.roll_back()
            raise
        if is_alone:
            await self.roll_back()
        self._statements[statement] = prepared
        return prepared

    def _judge(self, error: Exception) -> None:
        """Note what ``error`` means for the connection.

        Raises:
            LostConnectionError: There is none any more.
        """
        if isinstance(error, asyncpg.PostgresError) and errors.is_answer(error):
            self._is_broken = self._is_broken or errors.is_stale(error)
        elif isinstance(error, (asyncpg.PostgresError, *errors.NO_ANSWER)) or self._raw.is_closed():
            self._is_broken = True
            raise LostConnectionError(errors.said(error)) from error


def _look_at(closing: "asyncio.Task[None]") -> None:
    """Take note of how it ended, so that nobody complains that we did not."""
    if not closing.cancelled():
        closing.exception()
