"""``mintmark export``: everything in the database, as one file."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from mintmark.cli.output import say, show
from mintmark.cli.parameters import config_option, example, json_option
from mintmark.cli.refusal import Refusal

_TELL_EVERY: Final = 100_000
"""Rows; several batches."""


@click.command("export", epilog=example("mintmark export mintmark.export"))
@config_option
@json_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(file: Path, as_json: bool) -> None:
    """Write everything in the database into one file.

    `mintmark import` puts it into another database, of the same kind or not. FILE is made new, for its owner only: it
    names every account and session. The keys in it are encrypted under the master key, which is not in it. Stop the
    servers first: what happens after the export began is not in the file.
    """
    from mintmark.bootstrap.moving import export_all
    from mintmark.cli import logs
    from mintmark.cli.opening import explained, load_settings, real_world, require_database

    settings = load_settings()
    require_database(settings)
    logs.configure("warning", "console")
    with explained(settings), _new(file) as opened:
        summary = asyncio.run(export_all(settings, real_world(), opened, progress))
    show(
        {"file": str(file.absolute()), "bytes": file.stat().st_size, "sha256": summary.sha256, "rows": summary.rows},
        as_json=as_json,
    )
    say("Keep the file as safe as the database. It is of use only with the same master key, which is not in it.")


def progress(table: str, count: int) -> None:
    """Tell how far it is, now and then."""
    if count % _TELL_EVERY == 0:
        say(f"  {table}: {count:,} rows")


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Make a file that nobody but its owner can read; it is there only if all was written.

    Raises:
        Refusal: It cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refusal(f"{path} is there already, and nothing is ever overwritten; name another file") from error
    except OSError as error:
        raise Refusal(f"cannot write {path}: {error.strerror}; name another file") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink()
        if isinstance(error, OSError):
            raise Refusal(f"cannot write {path}: {error.strerror}; nothing was kept") from error
        raise
