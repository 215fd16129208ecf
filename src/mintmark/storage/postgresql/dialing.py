"""Finds, among the servers named in the URL, the one that takes writes."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.postgresql import errors
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.errors import LostConnectionError, NoPrimaryError, NoRoomError

CONNECT_SECONDS: Final = 2.0
"""How long one server may take until the next one is asked."""
_DEFAULT_PORT: Final = 5432
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
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

    def require_files(self) -> None:
        """Read the files for TLS that the URL names.

        Raises:
            StoreUnavailableError: One of them cannot be read.
        """
        named = parse_qs(urlsplit(self.url).query)
        for name in _FILES:
            for path in named.get(name, ()):
                try:
                    Path(path).read_bytes()
                except OSError as error:
                    raise StoreUnavailableError(f"{name}={path} cannot be read: {error.strerror}") from error


def _server(text: str) -> Server:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the URL names no host before a comma or a port")
    return unquote(parts.hostname), parts.port or _DEFAULT_PORT


class Dialer:
    """Makes connections to the server that takes writes. The one that was found last is asked first.

    Args:
        address: Where to look.
        needs_writes: Whether a server that takes none is passed over. If not, it is taken where the URL names no other:
            of several, a standby may be behind what the primary has.
    """

    def __init__(self, address: Address, *, needs_writes: bool = True) -> None:
        self._address = address
        self._needs_writes = needs_writes or len(address.servers) > 1
        self._next = 0

    async def dial(self) -> Connection:
        """Return a connection to the first server that takes writes.

        Raises:
            NoRoomError: There is none at present, and one of them has no room for a further connection.
            LostConnectionError: There is none at present.
            StoreUnavailableError: They are there, and do not want us.
        """
        servers, problems = self._address.servers, list[str]()
        kind: type[Exception] = StoreUnavailableError
        for _ in servers:
            server = servers[self._next]
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect(server)
            except (*errors.FAILURES, *errors.NO_ANSWER, asyncpg.InterfaceError) as error:
                problems.append(f"{_name(server)}: {errors.said(error)}")
                if errors.is_no_room(error):
                    kind = NoRoomError
                elif kind is StoreUnavailableError and not errors.is_refusal(error):
                    kind = LostConnectionError
                self._pass_over(server)
            except asyncio.CancelledError:
                # Whoever asked has waited long enough for this one; the next to ask begins with another.
                self._pass_over(server)
                raise
        raise kind("; ".join(problems))

    def _pass_over(self, server: Server) -> None:
        # Another task may have gone on already.
        if self._address.servers[self._next] == server:
            self._next = (self._next + 1) % len(self._address.servers)

    async def _connect(self, server: Server) -> Connection:
        host, port = server or (None, None)
        try:
            raw = await asyncpg.connect(
                self._address.url,
                host=host,
                port=port,
                password=self._address.password,
                statement_cache_size=0,
                target_session_attrs="any",
                server_settings={"application_name": "mintmark"},
            )
        except OSError:
            self._address.require_files()  # which of them it was, is not said
            raise
        try:
            return await _introduce(raw, needs_writes=self._needs_writes)
        except BaseException:
            raw.terminate()
            raise


async def _introduce(raw: Any, *, needs_writes: bool) -> Connection:
    """Find out who is there: a pooler announces another process than the one that answers.

    Raises:
        NoPrimaryError: A server that takes no writes, and ``needs_writes``.
    """
    # In a transaction, so that all of it is asked of one and the same process.
    await raw.execute("BEGIN")
    pid, is_read_only = await raw.fetchrow(_INTRODUCTION)
    await raw.execute("ROLLBACK")
    if needs_writes and is_read_only == "on":
        raise NoPrimaryError("takes no writes")
    return Connection(raw, is_pooled=pid != raw.get_server_pid())


def _name(server: Server) -> str:
    return "the socket" if server is None else f"{server[0]}:{server[1]}"
