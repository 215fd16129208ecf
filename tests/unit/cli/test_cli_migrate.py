"""`mintmark migrate`: what is missing, and brought up to date; `serve` says so where it is."""

import sqlite3
from pathlib import Path

import pytest
from tests.support.postgres import PostgreSQL
from tests.unit.cli.command_line import Line

from mintmark.storage import schema

DATABASE = "mintmark.sqlite3"
LATEST = len(schema.migrations("sqlite"))
NAMES = [each.name for each in schema.migrations("postgresql")]


def forget_the_last_migration(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM schema_version WHERE version = ?", (LATEST,))
    connection.execute("DROP TABLE leases")
    connection.commit()
    connection.close()


def test_a_file_that_is_up_to_date_lacks_nothing(line: Line, tmp_path: Path) -> None:
    for arguments in (["--check"], []):
        found = line.json("migrate", *arguments)
        assert found == {"database": str(tmp_path / DATABASE), "schema": LATEST, "applied": [], "missing": []}
    assert line("migrate").stderr == f"The database is up to date: schema {LATEST}.\n"


def test_what_is_missing_is_said_and_then_applied(line: Line, tmp_path: Path) -> None:
    forget_the_last_migration(tmp_path / DATABASE)
    name = schema.migrations("sqlite")[-1].name
    assert line.json("migrate", "--check", expect=1)["missing"] == [name]
    result = line("migrate", "--check", expect=1)
    assert result.stdout == f"missing  {name}\n"
    assert "Run `mintmark migrate`" in result.stderr
    result = line("migrate")
    assert result.stdout == f"applied  {name}\n"
    assert line.json("migrate", "--check")["missing"] == []


def test_it_needs_no_master_key(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.toml").write_text(f'issuer = "https://id.example"\ndatabase = "{DATABASE}"\n')
    assert line.json("migrate")["schema"] == LATEST


def test_it_does_not_look_for_one_either(line: Line, tmp_path: Path) -> None:
    """Whoever may change tables need not be the one who may read keys."""
    settings = tmp_path / "mintmark.toml"
    settings.write_text(
        f'issuer = "https://id.example"\ndatabase = "{DATABASE}"\n'
        'master_key_file = "nowhere.key"\nprevious_master_keys_file = "nowhere.either"\n'
    )
    assert line.json("migrate", "--check")["schema"] == LATEST
    assert "nowhere.key" in line("keys", "list", expect=2).stderr


def test_memory_has_no_schema(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_DATABASE", "memory:")
    assert "which has no schema" in line.refused("migrate")


def test_a_file_that_is_not_there_is_not_made(line: Line, tmp_path: Path) -> None:
    (tmp_path / DATABASE).unlink()
    assert "there is no database at" in line.refused("migrate")
    assert not (tmp_path / DATABASE).exists()


@pytest.mark.slow
def test_postgresql_is_migrated_by_command_only(
    line: Line, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_server.create_database("by_command")
    monkeypatch.setenv("MINTMARK_DATABASE", url)
    try:
        assert line.json("migrate", "--check", expect=1)["missing"] == NAMES
        for command in (["serve"], ["user", "list"], ["export", "file"]):
            said = line.refused(*command)
            assert f"the database {url} cannot be used: the database is empty" in said
            assert "Run `mintmark migrate`" in said
        doctor = line.json("doctor", expect=1)["findings"]
        assert {"run `mintmark migrate`"} == {each["remedy"] for each in doctor if each["check"] == "database"}
        assert line.json("migrate")["applied"] == NAMES
        assert line.json("migrate", "--check") == {"database": url, "schema": len(NAMES), "applied": [], "missing": []}
        assert line.json("user", "list") == []
        doctor = line.json("doctor", expect=1)["findings"]
        assert [each["status"] for each in doctor if each["check"] == "database"] == ["ok"]
    finally:
        postgresql_server.drop_database("by_command")


@pytest.mark.slow
def test_a_server_that_is_away_is_told_from_a_file_that_is(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_DATABASE", "postgresql://mintmark@127.0.0.1:1/mintmark")
    said = line.refused("user", "list")
    assert "check that the server runs and can be reached from here" in said
    finding = next(each for each in line.json("doctor", expect=1)["findings"] if each["check"] == "database")
    assert (finding["status"], "database_password" in finding["remedy"]) == ("problem", True)
