"""Everything that is kept, as one file that another database can take in: JSON lines, written and read as a stream.

    {"mintmark_export": 1, "made_by": "0.1.0", "made_at": 1700000000, "issuer": "https://id.example"}
    {"table": "server_secrets", "columns": ["version", "wrapped", "created_at"]}
    [1, "d3JhcHBlZA==", 1700000000]
    {"table": "signing_keys", "columns": […]}
    …
    {"rows": {"server_secrets": 1, …}, "sha256": "of every byte before this line"}

1. Rows are those of the portable statements. A column is only ever added at the end of its table, with a default in
   the schema: what an earlier version exported stays readable.
2. Server secrets and signing keys come first, as they are stored: wrapped. Whether the master key at hand opens them
   is known before anything is written.
3. The last line proves that the file is whole; nothing is taken from one that is not.
"""
# ruff: noqa: S608 - the texts are put together from the constants of this module, values are always parameters

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from mintmark import __version__
from mintmark.authority.model import ServerSecret, SigningKey
from mintmark.storage.rows import Row, server_secret_from_row, signing_key_from_row
from mintmark.storage.schema import Schema, UnknownSchemaError

FORMAT: Final = 1
"""Grows when an earlier version could misunderstand the file; a further table or column is refused by its name."""
BATCH: Final = 2000
"""Rows that are held in memory at a time."""
_LONGEST_HEADER: Final = 4096  # bytes; so that a film is not read whole to find out that it is no export

Progress = Callable[[str, int], None]
"""Hears, again and again, of which table how many rows are done."""


class ExportError(Exception):
    """The file cannot be taken in; the message says why and what to do."""


class NotEmptyError(Exception):
    """The database has content of its own, and nothing is ever overwritten.

    Attributes:
        tables: Those that have rows.
    """

    def __init__(self, tables: Sequence[str]) -> None:
        super().__init__(f"there are rows in {', '.join(tables)}")
        self.tables = tuple(tables)


@dataclass(frozen=True, slots=True)
class Table:
    """One table, as every SQL store has it.

    Attributes:
        name: Its name.
        columns: Its columns with the types of their values.
        order: The column that says in which order rows were appended, if that matters.
    """

    name: str
    columns: Mapping[str, Any]
    order: str = ""

    @property
    def select(self) -> str:
        """The statement for all rows."""
        order = f' ORDER BY "{self.order}"' if self.order else ""
        return f"SELECT {', '.join(map(_quoted, self.columns))} FROM {self.name}{order}"

    @property
    def first(self) -> str:
        """The statement that finds a row if there is one."""
        return f"SELECT 1 FROM {self.name} LIMIT 1"

    def insert(self, columns: Sequence[str]) -> str:
        """Return the statement that adds one row of ``columns``."""
        places = ", ".join(f"?{number}" for number in range(1, len(columns) + 1))
        return f"INSERT INTO {self.name} ({', '.join(map(_quoted, columns))}) VALUES ({places})"


def _quoted(column: str) -> str:
    return f'"{column}"'  # some are words of SQL


_INSTANT: Final = int | None
_WORDS: Final = str | None

TABLES: Final = (
    Table("server_secrets", {"version": int, "wrapped": bytes, "created_at": int}),
    Table(
        "signing_keys",
        {
            "kid": str,
            "alg": str,
            "public_jwk": str,
            "wrapped": bytes,
            "published_at": int,
            "active_at": int,
            "retired_at": _INSTANT,
            "removed_at": _INSTANT,
            "compromised": int,
        },
    ),
    Table("clients", {"client_id": str, "document": str}),
    Table("resources", {"resource": str, "document": str}),
    Table("roles", {"name": str, "document": str}),
    Table("users", {"subject": str, "email_key": str, "document": str}),
    Table(
        "grants",
        {
            "id": bytes,
            "client_id": str,
            "subject": str,
            "sid": _WORDS,
            "salt": bytes,
            "generation": int,
            "authorization": str,
            "binding": _WORDS,
            "created_at": int,
            "advanced_at": int,
            "idle_expires_at": int,
            "expires_at": int,
            "access_expires_at": int,
            "replays": int,
            "ended_at": _INSTANT,
            "end_reason": _WORDS,
            "sweep_at": int,
        },
    ),
    Table(
        "sessions",
        {
            "digest": bytes,
            "sid": str,
            "subject": str,
            "auth_time": int,
            "acr": str,
            "amr": str,
            "user_agent": str,
            "idle_expires_at": int,
            "expires_at": int,
        },
    ),
    Table(
        "consents",
        {"subject": str, "client_id": str, "scope": str, "resources": str, "claims": str, "granted_at": int},
    ),
    # With their cursors: who reads the feed goes on where it was.
    Table(
        "revocations", {"cursor": int, "kind": str, "value": str, "before": _INSTANT, "expires_at": int}, order="cursor"
    ),
    Table(
        "audit_events",
        {"at": int, "event": str, "client_id": _WORDS, "subject": _WORDS, "gid": _WORDS, "detail": str},
        order="seq",
    ),
)
"""What is moved, in the order of the file. What only says how far a database or a node is, is not."""

_BY_NAME: Final = {table.name: table for table in TABLES}
_WRAPPED: Final = ("server_secrets", "signing_keys")


def require_whole(schema: Schema, latest: int) -> None:
    """Refuse to export what this code does not know all of.

    Args:
        schema: What the database has.
        latest: The newest that the code knows.

    Raises:
        UnknownSchemaError: It is newer, even if this code works with it.
    """
    if schema.version > latest:
        raise UnknownSchemaError(
            f"it has schema {schema.version}, and this mintmark knows {latest}: what only a newer one keeps would be left "
            "out. Export it with the newer one"
        )


class Source(Protocol):
    """A database as it was at one instant."""

    def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Yield all rows of ``table``, some at a time, in its order."""
        ...


class Target(Protocol):
    """An empty database. What is added becomes visible all at once, or not at all."""

    async def add(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows that have ``columns``, the first ones of the table's."""
        ...


class _Header(msgspec.Struct, frozen=True):
    mintmark_export: int
    made_by: str
    made_at: int = 0
    issuer: str = ""


class _Section(msgspec.Struct, frozen=True):
    table: str
    columns: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True):
    """The last line: how many rows of each table there are, and the digest of all before it."""

    rows: dict[str, int]
    sha256: str


_encoder: Final = msgspec.json.Encoder()


async def export(source: Source, file: BinaryIO, *, issuer: str, now: int, progress: Progress) -> Summary:
    """Write all of ``source`` into ``file``; memory does not grow with it.

    Raises:
        OSError: It cannot be written.
    """
    digest, counts = sha256(), dict.fromkeys(_BY_NAME, 0)

    def write(lines: bytes) -> None:
        digest.update(lines)
        file.write(lines)

    write(_encoder.encode_lines([_Header(FORMAT, __version__, now, issuer)]))
    for table in TABLES:
        write(_encoder.encode_lines([_Section(table.name, tuple(table.columns))]))
        async for rows in source.rows(table):
            write(_encoder.encode_lines(rows))
            counts[table.name] += len(rows)
            progress(table.name, counts[table.name])
    summary = Summary(counts, digest.hexdigest())
    file.write(_encoder.encode_lines([summary]))
    return summary


class Export:
    """A file that was found to be whole.

    Args:
        file: At its beginning; read several times.

    Attributes:
        issuer: Of the installation that was exported.
        summary: What is in it.

    Raises:
        ExportError: It is no export, one of a newer version, or not whole.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._header = _header(file)
        self.issuer = self._header.issuer
        self.summary = self._require_whole()

    def batches(self) -> Iterator[tuple[Table, tuple[str, ...], list[Row]]]:
        """Yield tables with the columns there are and some of their rows, in the order of the file.

        Raises:
            ExportError: There is something that this version does not know.
        """
        self._file.seek(0)
        self._file.readline()
        table, columns = TABLES[0], tuple[str, ...]()
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Section)
        rows: list[Row] = []
        for number, line in enumerate(self._file, 2):
            is_row = line.startswith(b"[")
            if rows and (not is_row or len(rows) == BATCH):
                yield table, columns, rows
                rows = []
            if is_row:
                rows.append(self._decoded(decoder, line, number))
            elif line.startswith(b'{"table":'):
                table, columns = self._section(line, number)
                decoder = msgspec.json.Decoder(tuple[tuple(map(table.columns.__getitem__, columns))])  # type: ignore[misc]

    def wrapped(self) -> tuple[list[ServerSecret], list[SigningKey]]:
        """Return what the master key protects.

        Raises:
            ExportError: There is something that this version does not know.
        """
        found: dict[str, list[Row]] = {name: [] for name in _WRAPPED}
        for table, _, rows in self.batches():
            if table.name not in found:
                break
            found[table.name] += rows
        return [*map(server_secret_from_row, found["server_secrets"])], [
            *map(signing_key_from_row, found["signing_keys"])
        ]

    def _require_whole(self) -> Summary:
        digest, last = sha256(), b""
        self._file.seek(0)
        for line in self._file:
            digest.update(last)
            last = line
        try:
            summary = msgspec.json.decode(last, type=Summary)
        except msgspec.MsgspecError as error:
            raise ExportError("it ends before its last line: copy it again, or export again") from error
        if summary.sha256 != digest.hexdigest():
            raise ExportError("it was changed or damaged since it was written: copy it again, or export again")
        return summary

    def _section(self, line: bytes, number: int) -> tuple[Table, tuple[str, ...]]:
        section = self._decoded(msgspec.json.Decoder(_Section), line, number)
        table = _BY_NAME.get(section.table)
        if table is None or tuple(table.columns)[: len(section.columns)] != section.columns:
            raise ExportError(
                f"it holds {section.table} ({', '.join(section.columns)}), which this mintmark does not know: "
                f"it was made by mintmark {self._header.made_by}; import it with that version or a later one"
            )
        return table, section.columns

    def _decoded(self, decoder: msgspec.json.Decoder[Any], line: bytes, number: int) -> Any:
        try:
            return decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise ExportError(f"line {number} is none that mintmark {self._header.made_by} writes") from error


def _header(file: BinaryIO) -> _Header:
    file.seek(0)
    try:
        header = msgspec.json.decode(file.readline(_LONGEST_HEADER), type=_Header)
    except msgspec.MsgspecError as error:
        raise ExportError("it is no export of mintmark") from error
    if header.mintmark_export > FORMAT:
        raise ExportError(
            f"it has format {header.mintmark_export}, and this mintmark reads formats up to {FORMAT}: "
            f"it was made by mintmark {header.made_by}; import it with that version or a later one"
        )
    return header


async def load(export: Export, target: Target, *, progress: Progress) -> None:
    """Add all of ``export`` to ``target``; memory does not grow with it.

    Raises:
        ExportError: There is something in it that this version does not know.
    """
    counts = dict.fromkeys(_BY_NAME, 0)
    for table, columns, rows in export.batches():
        await target.add(table, columns, rows)
        counts[table.name] += len(rows)
        progress(table.name, counts[table.name])
