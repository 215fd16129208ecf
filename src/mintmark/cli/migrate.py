"""``mintmark migrate``: the schema of the database, brought up to date."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from mintmark.cli.output import emit_json, say
from mintmark.cli.parameters import config_option, example, json_option
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    from mintmark.config import Settings
    from mintmark.storage.schema import Migration


@click.command("migrate", epilog=example("mintmark migrate --check", "mintmark migrate"))
@config_option
@click.option("--check", "is_check", is_flag=True, help="Change nothing; exit code 1 if anything is missing.")
@json_option
def command(is_check: bool, as_json: bool) -> None:
    """Bring the schema of the database up to date.

    Before a new version is started on PostgreSQL; nodes of the version before go on meanwhile. Any number of nodes may
    do it at a time. `serve` does it itself with a SQLite file, which it has alone. The master key is not read.
    """
    from mintmark.cli import logs
    from mintmark.cli.opening import MEMORY, explained, load_settings, require_database

    settings = load_settings(needs_key=False)
    if settings.database == MEMORY:
        raise Refusal("the database is `memory:`, which has no schema")
    require_database(settings)
    logs.configure("warning", "console")
    with explained(settings):
        found = _look(settings) if is_check else _migrate(settings, as_json=as_json)
    if as_json:
        emit_json(found)
    else:
        _tell(found)
    click.get_current_context().exit(1 if found["missing"] else 0)


def _look(settings: "Settings") -> dict[str, Any]:
    from mintmark.bootstrap.migrating import pending

    schema, missing = asyncio.run(pending(settings))
    return _found(settings, schema.version, missing=missing)


def _migrate(settings: "Settings", *, as_json: bool) -> dict[str, Any]:
    from mintmark.bootstrap.migrating import migrate
    from mintmark.cli.opening import real_world

    applied: list[Migration] = []

    def progress(migration: "Migration") -> None:
        applied.append(migration)
        if not as_json:
            click.echo(f"applied  {migration.name}")

    schema = asyncio.run(migrate(settings, real_world().clock, progress))
    return _found(settings, schema.version, applied=applied)


def _found(
    settings: "Settings",
    schema: int,
    *,
    applied: "list[Migration] | None" = None,
    missing: "list[Migration] | None" = None,
) -> dict[str, Any]:
    return {
        "database": settings.database,
        "schema": schema,
        "applied": [each.name for each in applied or []],
        "missing": [each.name for each in missing or []],
    }


def _tell(found: dict[str, Any]) -> None:
    for name in found["missing"]:
        click.echo(f"missing  {name}")
    if found["missing"]:
        say(f"The database has schema {found['schema']}. Run `mintmark migrate`, then start this version.")
    else:
        say(f"The database is up to date: schema {found['schema']}.")
