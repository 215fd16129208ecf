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
    # Imported here: rich takes longer than the rest of the command line, and JSON needs none of it.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=sys.stdout, highlight=False)
    is_for_people = console.is_terminal
    if not is_for_people:  # one line a row, however long: it is for grep and cut
        width = sum(max(map(len, cells)) + 2 for cells in zip(*rows, *([columns] if columns else []), strict=True))
        console = Console(file=sys.stdout, highlight=False, width=width, color_system=None)
    table = Table(
        box=box.SIMPLE_HEAD if is_for_people and columns else None,
        show_header=columns is not None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in columns or ("", ""):
        table.add_column(name.removesuffix("_at").replace("_", " "), overflow="fold", no_wrap=not is_for_people)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
