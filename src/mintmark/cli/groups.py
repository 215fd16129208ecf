"""Groups of commands: what they say to a name that they do not know, and to whoever wants JSON."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from mintmark.cli.output import emit_json


class Group(click.Group):
    """A group that knows what might have been meant, and lists its commands in the order of a life."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names: ``create`` comes first, ``remove`` last."""
        return sorted(super().list_commands(ctx), key=lambda name: (name != "create", name == "remove", name))

    def names(self, ctx: click.Context) -> Sequence[str]:
        """Return every name that may be typed."""
        return self.list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what might have been meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            nearest = get_close_matches(name, self.names(ctx), n=1)
            advice = f"did you mean {nearest[0]}?" if nearest else f"`{ctx.command_path} --help` lists them."
            ctx.fail(f"there is no command {name!r}; {advice}")
        return super().resolve_command(ctx, args)


class RefusingInJson(Group):
    """The outermost group: with ``--json``, a refusal is printed for machines as well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether the line asks for JSON."""
        ctx.meta[__name__] = "--json" in args
        with _in_json(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _in_json(ctx):
            return super().invoke(ctx)


@contextmanager
def _in_json(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        if ctx.meta[__name__]:
            emit_json({"error": error.format_message()})
        raise
