"""Finds, among the servers named in the URL, the one that takes writes."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.errors import LostConnectionError, NoPrimaryError

CONNECT_SECONDS: Final = 2.0
"""How long one server may take until the next one is asked."""
_DEFAULT_PORT: Final = 5432
_INTRODUCTION: Final = "SELECT pg_backend_pid(), current_setting('transaction_read_only')"

Server = tuple[str, int] | None
"""Host and port; ``None`` stands for a socket of this machine, which the URL names elsewhere."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is.

    Attributes:
        url: ``postgresql://user@host:port,host:port/database``, without a password.
        password: Beside it, so that no log ever shows it.
        servers: Those that the URL names.
    """

    url: str
    password: str | None = field(repr=False)
    servers: tuple[Server, ...]

    @classmethod
    def of(cls, url: str, password: str | None) -> Self:
        """Read ``url``.

        Raises:
            ValueError: It names no server.
        """
        parts = urlsplit(url)
        named = parts.netloc.rpartition("@")[2]
        if named:
            return cls(url, password, tuple(map(_server, named.split(","))))
        if "host" not in parse_qs(parts.query):
            raise ValueError("the URL names no host")
        return cls(url, password, (None,))


def _server(text: str) -> Server:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the URL names no host before a comma or a port")
    return unquote(parts.hostname), parts.port or _DEFAULT_PORT


class Dialer:
    """Makes connections to the server that takes writes. The one that was found last is asked first.

    Args:
        address: Where to look.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._next = 0

    async def dial(self) -> Connection:
        """Return a connection to the first server that takes writes.

        Raises:
            LostConnectionError: There is none at present.
            StoreUnavailableError: They are there, and do not want us.
        """
        servers, problems, is_worth_waiting = self._address.servers, list[str](), False
        for _ in servers:
            server = servers[self._next]
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect(server)
            except (*errors.FAILURES, *errors.NO_ANSWER, asyncpg.InterfaceError) as error:
                problems.append(f"{_name(server)}: {errors.said(error)}")
                is_worth_waiting = is_worth_waiting or not errors.is_refusal(error)
                self._pass_over(server)
            except asyncio.CancelledError:
                # Whoever asked has waited long enough for this one; the next to ask begins with another.
                self._pass_over(server)
                raise
        kind = LostConnectionError if is_worth_waiting else StoreUnavailableError
        raise kind("; ".join(problems))

    def _pass_over(self, server: Server) -> None:
        # Another task may have gone on already.
        if self._address.servers[self._next] == server:
            self._next = (self._next + 1) % len(self._address.servers)

    async def _connect(self, server: Server) -> Connection:
        host, port = server or (None, None)
        raw = await asyncpg.connect(
            self._address.url,
            host=host,
            port=port,
            password=self._address.password,
            statement_cache_size=0,
            target_session_attrs="any",
            server_settings={"application_name": "mintmark"},
        )
        try:
            return await _introduce(raw)
        except BaseException:
            raw.terminate()
            raise


async def _introduce(raw: Any) -> Connection:
    """Find out who is there: a pooler announces another process than the one that answers.

    Raises:
        NoPrimaryError: A server that takes no writes.
    """
    # In a transaction, so that all of it is asked of one and the same process.
    await raw.execute("BEGIN")
    pid, is_read_only = await raw.fetchrow(_INTRODUCTION)
    await raw.execute("ROLLBACK")
    if is_read_only == "on":
        raise NoPrimaryError("takes no writes")
    return Connection(raw, is_pooled=pid != raw.get_server_pid())


def _name(server: Server) -> str:
    return "the socket" if server is None else f"{server[0]}:{server[1]}"
