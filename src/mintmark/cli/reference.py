"""``docs/cli.md``, made from the help of every command: ``python -m mintmark.cli.reference > docs/cli.md``."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from mintmark.cli.main import cli

_HEAD: Final = """\
# Command line

<!-- Made by `python -m mintmark.cli.reference > docs/cli.md` from the help of the commands; do not edit. -->

Results go to standard output, everything else to standard error. `--json` gives every result to machines; its fields
are only ever added to. Times in JSON are Unix seconds. Secrets are never arguments: they come from a hidden prompt or
from standard input, and a secret that mintmark makes is printed once.

With `--json` a refusal is printed twice: as text on standard error, and as `{"error": "…"}` on standard output.

The examples build on each other from `resource create` on; those of `remove` take away what the others made.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage or settings.
"""
_WIDTH: Final = 100


def reference() -> str:
    """Return ``docs/cli.md``."""
    return _HEAD + "".join(_pages(cli, click.Context(cli, info_name="mintmark", **cli.context_settings)))


def _pages(command: click.Command, ctx: click.Context) -> Iterator[str]:
    settings = {"terminal_width": _WIDTH, "max_content_width": _WIDTH, "color": False}
    for name, value in settings.items():
        setattr(ctx, name, value)
    depth = min(ctx.command_path.count(" ") + 2, 3)
    text = "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines())
    yield f"\n{'#' * depth} {ctx.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            yield from _pages(child, click.Context(child, info_name=name, parent=ctx))


if __name__ == "__main__":
    sys.stdout.write(reference())
