"""Brings the schema of a SQLite file to what the code expects, whenever it is opened (ADR 0023)."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from mintmark.storage import schema
from mintmark.storage.schema import Migration, Schema

REMEDY: Final = "An older database has taken its place: restart mintmark, which upgrades it."

# All columns there are: before migrations said what they work with there was one less.
_NEWEST: Final = "SELECT * FROM schema_version ORDER BY version DESC LIMIT 1"
_COLUMNS: Final = "SELECT name FROM pragma_table_info('schema_version')"


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], *, now: int) -> int:
    """Apply what is missing of ``steps``; return the version reached. Several processes may do so at a time.

    Args:
        connection: In autocommit mode.
        steps: All migrations, in order.
        now: Unix time, for the record of when each was applied.

    Raises:
        UnknownSchemaError: The database is newer than ``steps``, and needs newer code.
        sqlite3.Error: A step failed and left nothing behind; the steps before it stay.
    """
    for step in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _keep_history(connection)
            # Asked again under the lock: another process may have come first.
            if schema_of(connection).version < step.version:
                for statement in _split(step.script):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO schema_version (version, applied_at, works_with) VALUES (?, ?, ?)",
                    (step.version, now, step.works_with),
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return schema.require_known(schema_of(connection), len(steps), remedy=REMEDY)


def schema_of(connection: sqlite3.Connection) -> Schema:
    """Return the schema of the database.

    Raises:
        sqlite3.Error: The file cannot be read, or has no ``schema_version``.
    """
    for version, _, *works_with in connection.execute(_NEWEST).fetchall():
        oldest = works_with[0] if works_with else None
        return Schema(version, version if oldest is None else oldest)
    return schema.NOTHING


def _keep_history(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version "
        "(version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL, works_with INTEGER)"
    )
    if ("works_with",) not in connection.execute(_COLUMNS).fetchall():
        connection.execute("ALTER TABLE schema_version ADD COLUMN works_with INTEGER")


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
