"""Brings the schema of a SQLite file to what the code expects: numbered SQL files, one transaction each."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage import statements


class UnknownSchemaError(StoreUnavailableError):
    """The schema of the database is not one that this version understands; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: Of the schema after it; the first is 1.
        script: SQL statements.
    """

    version: int
    script: str


def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order.

    Raises:
        ValueError: The files are not numbered 1, 2, 3 …
    """
    files = (resources.files("mintmark.storage") / "migrations" / "sqlite").iterdir()
    scripts = sorted((file.name, file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".sql"))
    found = tuple(Migration(int(name.partition("_")[0]), script) for name, script in scripts)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are numbered 1, 2, 3 …, not {[name for name, _ in scripts]}")
    return found


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], *, now: int) -> int:
    """Apply what is missing of ``steps``; return the version reached. Several processes may do so at a time.

    Args:
        connection: In autocommit mode.
        steps: All migrations, in order.
        now: Unix time, for the record of when each was applied.

    Raises:
        UnknownSchemaError: The database is newer than ``steps``.
        sqlite3.Error: A step failed and left nothing behind; the steps before it stay.
    """
    for step in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"
            )
            # Asked again under the lock: another process may have come first.
            if version_of(connection) < step.version:
                for statement in _split(step.script):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", (step.version, now)
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return require_known(version_of(connection), len(steps))


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema; 0 where there is none.

    Raises:
        sqlite3.Error: The file cannot be read, or has no ``schema_version``.
    """
    ((version,),) = connection.execute(statements.SCHEMA_VERSION).fetchall()
    return int(version or 0)


def require_known(version: int, latest: int) -> int:
    """Return ``version`` if it is the ``latest`` this code knows.

    Raises:
        UnknownSchemaError: It is another one.
    """
    if version > latest:
        raise UnknownSchemaError(
            f"the database has schema {version}, and this mintmark knows schemas up to {latest}: a newer mintmark has "
            "been here. Install that version or a later one, or restore a backup made before the upgrade."
        )
    if version < latest:
        raise UnknownSchemaError(
            f"the database has schema {version}, and this mintmark needs schema {latest}: an older database has taken "
            "its place. Restart mintmark, which upgrades it."
        )
    return version


def _split(script: str) -> Iterator[str]:
    """Yield the statements one by one: ``executescript`` would commit the transaction they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in statement.splitlines()):
        raise ValueError(f"the last statement of a migration has no semicolon: {statement.strip()!r}")
