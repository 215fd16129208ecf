"""What commands print: results on standard output, as tables or as JSON; everything said to a person on standard error."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click


def say(text: str) -> None:
    """Tell the person something that is not the result."""
    click.echo(text, err=True)


def show(value: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing."""
    if as_json:
        emit_json(value)
        return
    _print_table([(name, _cell(name, part)) for name, part in value.items() if part not in (None, "", [], {})], None)


def show_all(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, none: str) -> None:
    """Print many things: all they have as JSON, ``columns`` as a table, ``none`` where there are none."""
    if as_json:
        emit_json(list(rows))
    elif rows:
        _print_table([tuple(_cell(name, row.get(name)) for name in columns) for row in rows], columns)
    else:
        say(none)


def emit_json(value: Any) -> None:
    """Print JSON. Pure ASCII, so that nothing in it can steer a terminal."""
    click.echo(json.dumps(value, indent=2))


def printable(text: str) -> str:
    """Return ``text`` with control characters made visible: names come from strangers, terminals obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def instant(at: int) -> str:
    """Return Unix time as a person reads it."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(at)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and (name.endswith("_at") or name in {"at", "exp", "iat", "nbf", "auth_time"}):
        return instant(value) if value else ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(key, part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_cell(name, part) for part in value)
    return printable(str(value))


def _print_table(rows: Sequence[Sequence[str]], columns: Sequence[str] | None) -> None:
    headings = None if columns is None else [name.removesuffix("_at").replace("_", " ") for name in columns]
    if sys.stdout.isatty():
        _print_for_people(rows, headings)
        return
    # One line a row, however long: it is for grep and cut.
    lines = [headings, *rows] if headings else rows
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_for_people(rows: Sequence[Sequence[str]], headings: Sequence[str] | None) -> None:
    # Imported here: rich takes longer than the rest of the command line, and pipes and JSON need none of it.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if headings else None, show_header=headings is not None, pad_edge=False)
    for heading in headings or ("",) * len(rows[0]):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)
