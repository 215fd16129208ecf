"""The rules of schemas, the same for every SQL store (ADR 0023).

1. Migrations are numbered SQL files, 1, 2, 3 … for each database; one is applied in one transaction, once.
2. A migration either *expands* (older code goes on working beside it) or *contracts* (what no code in use needs any more
   goes). The first line of the file may say ``-- works with: N``: the oldest schema whose code works with this one.
   Without it, only code that knows the migration does.
3. Code that knows schemas up to N therefore takes a database with schema M > N if that works with N.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

from mintmark.authority.ports import StoreUnavailableError

_WORKS_WITH: Final = re.compile(r"-- works with: ([1-9][0-9]*)", re.ASCII)

MIGRATE: Final = "mintmark migrate"


class UnknownSchemaError(StoreUnavailableError):
    """The schema of the database is not one that this version understands; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: Of the schema after it; the first is 1.
        name: Of its file, without the ending.
        script: SQL statements.
        works_with: The oldest schema whose code works with this one.
    """

    version: int
    name: str
    script: str
    works_with: int


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a database has; ``version`` is 0 where it has none."""

    version: int
    works_with: int


NOTHING: Final = Schema(0, 0)


def migrations(database: Literal["sqlite", "postgresql"]) -> tuple[Migration, ...]:
    """Return all migrations of a kind of database, in order.

    Raises:
        ValueError: The files are not numbered 1, 2, 3 …, or one works with less than it can.
    """
    files = (resources.files("mintmark.storage") / "migrations" / database).iterdir()
    texts = {file.name: file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql")}
    found = tuple(migration(name.removesuffix(".sql"), text) for name, text in sorted(texts.items()))
    if [each.version for each in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are numbered 1, 2, 3 …, not {sorted(texts)}")
    oldest = [each.works_with for each in found]
    if oldest != sorted(oldest):
        raise ValueError(f"what an earlier migration broke stays broken: {oldest} must not go down")
    return found


def migration(name: str, script: str) -> Migration:
    """Return the migration of a file named ``name`` (without ending) that holds ``script``.

    Raises:
        ValueError: It says that it works with a schema after itself, or its name has no number.
    """
    version = int(name.partition("_")[0])
    said = _WORKS_WITH.fullmatch(script.partition("\n")[0].rstrip())
    works_with = version if said is None else int(said[1])
    if works_with > version:
        raise ValueError(f"{name} works with {works_with}, which comes after it")
    return Migration(version, name, script, works_with)


def missing(steps: Sequence[Migration], schema: Schema) -> list[Migration]:
    """Return what of ``steps`` is not applied yet."""
    return [step for step in steps if step.version > schema.version]


def require_known(schema: Schema, latest: int, *, remedy: str) -> int:
    """Return the version of ``schema`` if code that knows schemas up to ``latest`` works with it.

    Args:
        schema: What the database has.
        latest: What the code knows.
        remedy: What brings an older database up to date: a sentence.

    Raises:
        UnknownSchemaError: It does not.
    """
    if schema.version > latest and schema.works_with > latest:
        raise UnknownSchemaError(
            f"the database has schema {schema.version}, which needs a mintmark that knows schema {schema.works_with}, "
            f"and this one knows schemas up to {latest}: a newer mintmark has been here. Install that version or a "
            "later one, or restore a backup made before the upgrade."
        )
    if schema.version < latest:
        has = f"has schema {schema.version}" if schema.version else "is empty"
        raise UnknownSchemaError(f"the database {has}, and this mintmark needs schema {latest}. {remedy}")
    return schema.version
