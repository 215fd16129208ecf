"""The rules of migrations, the same for every SQL store."""

from pathlib import Path

import pytest

from mintmark.storage import schema
from mintmark.storage.schema import Schema, UnknownSchemaError, migration


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_migrations_there_are_begin_at_one(database: str) -> None:
    found = schema.migrations(database)  # type: ignore[arg-type]
    assert [each.version for each in found] == list(range(1, len(found) + 1))
    assert found[0].name == "0001_initial"


def test_a_migration_works_with_the_schema_it_names_and_otherwise_with_none_before() -> None:
    assert migration("0007_more", "-- works with: 5\nCREATE TABLE more (x INTEGER);").works_with == 5
    assert migration("0007_more", "CREATE TABLE more (x INTEGER);\n-- works with: 5\n").works_with == 7
    with pytest.raises(ValueError, match="comes after"):
        migration("0007_more", "-- works with: 8\n")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["0001_one", "0003_three"], "numbered 1, 2, 3"),
        (["0002_two"], "numbered 1, 2, 3"),
        (["0001_one", "0002_two", "0003_three: 1"], "must not go down"),
    ],
)
def test_files_that_cannot_be_a_series_are_refused(
    files: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "migrations" / "sqlite"
    folder.mkdir(parents=True)
    for file in files:
        name, _, works_with = file.partition(": ")
        (folder / f"{name}.sql").write_text(f"-- works with: {works_with}\n" if works_with else "-- nothing\n")
    monkeypatch.setattr("mintmark.storage.schema.resources.files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=said):
        schema.migrations("sqlite")


def test_what_is_missing_comes_after_the_schema() -> None:
    steps = [migration("0001_one", ""), migration("0002_two", ""), migration("0003_three", "")]
    assert schema.missing(steps, schema.NOTHING) == steps
    assert schema.missing(steps, Schema(2, 2)) == steps[2:]
    assert schema.missing(steps, Schema(9, 1)) == []


@pytest.mark.parametrize("stored", [Schema(3, 3), Schema(3, 1), Schema(4, 3), Schema(9, 1)])
def test_a_schema_that_works_with_this_code_is_taken(stored: Schema) -> None:
    assert schema.require_known(stored, 3, remedy="Do this.") == stored.version


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (Schema(4, 4), "schema 4, which needs a mintmark that knows schema 4, and this one knows schemas up to 3"),
        (Schema(9, 5), "schema 9, which needs a mintmark that knows schema 5"),
        (Schema(2, 1), r"has schema 2, and this mintmark needs schema 3\. Do this\."),
        (schema.NOTHING, r"is empty, and this mintmark needs schema 3\. Do this\."),
    ],
)
def test_another_schema_is_refused_with_what_to_do(stored: Schema, said: str) -> None:
    with pytest.raises(UnknownSchemaError, match=said):
        schema.require_known(stored, 3, remedy="Do this.")
