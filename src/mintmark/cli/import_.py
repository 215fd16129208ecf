"""``mintmark import``: what ``mintmark export`` wrote, into an empty database."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mintmark.cli.export import progress
from mintmark.cli.output import say, show
from mintmark.cli.parameters import config_option, example, json_option
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    from mintmark.config import Settings
    from mintmark.storage.moving import Export


@click.command("import", epilog=example("mintmark import mintmark.export"))
@config_option
@json_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(file: Path, as_json: bool) -> None:
    """Take what `mintmark export` wrote into an empty database.

    All of it, or nothing. The settings give the master key and the issuer that the exported installation had. Nobody is
    signed out, and every token stays as good as it was.
    """
    from mintmark.bootstrap.moving import import_all
    from mintmark.cli import logs
    from mintmark.cli.opening import MEMORY, load_settings, real_world

    settings = load_settings()
    if settings.database == MEMORY:
        raise Refusal("the database is `memory:`, which ends with this command; set `database` to one that stays")
    logs.configure("warning", "console")
    with _explained(settings, file), _whole(file) as export:
        if export.issuer != settings.issuer:
            say(
                f"Warning: the file is of {export.issuer}, and the issuer here is {settings.issuer}: "
                "access tokens and ID tokens issued before will not be accepted."
            )
        asyncio.run(import_all(settings, real_world(), export, progress))
        summary = export.summary
    show({"file": str(file.absolute()), "database": settings.database, "rows": summary.rows}, as_json=as_json)
    say("Done. Start `mintmark serve` here. Never start the old installation again.")


@contextlib.contextmanager
def _whole(path: Path) -> "Iterator[Export]":
    from mintmark.storage.moving import Export

    try:
        file = path.open("rb")
    except OSError as error:
        raise Refusal(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield Export(file)


@contextlib.contextmanager
def _explained(settings: "Settings", path: Path) -> Iterator[None]:
    """Say what to do about the failures; after each of them nothing was changed.

    Raises:
        Refusal: Instead of them.
    """
    from mintmark.authority.ports import AlreadyExistsError
    from mintmark.authority.wrapping import MasterKeyError
    from mintmark.cli.opening import explained
    from mintmark.storage.moving import ExportError, NotEmptyError

    try:
        with explained(settings):
            try:
                yield
            except MasterKeyError as error:
                raise Refusal(
                    f"the master key is not that of the exported installation: {error}. It is not in {path}: "
                    "set master_key_file to a copy of that installation's. Nothing was imported."
                ) from error
    except ExportError as error:
        raise Refusal(f"{path} cannot be imported: {error}. Nothing was imported.") from error
    except NotEmptyError as error:
        raise Refusal(
            f"the database {settings.database} is not empty: {error}. Set `database` to one without content; "
            "nothing was imported, nothing was changed."
        ) from error
    except AlreadyExistsError as error:
        raise Refusal(
            f"somebody else is writing to {settings.database}: {error}. End that, and look whether it still is empty. "
            "Nothing was imported."
        ) from error
