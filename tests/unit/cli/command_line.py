"""A command line that tests type into, and every command there is."""

import json
from dataclasses import dataclass
from typing import Any

import click
from click.testing import CliRunner, Result
from tests.support.world import FixedClock

from mintmark.cli.main import cli

ADMIN = "ada@example.com"
PASSWORD = "correct horse battery staple"
START = 1_700_000_000


@dataclass
class Line:
    """A command line: what is typed, and what comes back."""

    clock: FixedClock

    def __call__(self, *args: str, typed: str | None = None, expect: int = 0) -> Result:
        """Run a command and insist on its exit code."""
        result = CliRunner().invoke(cli, list(args), input=typed, prog_name="mintmark")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}"
        return result

    def json(self, *args: str, typed: str | None = None, expect: int = 0, as_is: bool = False) -> Any:
        """Run a command with ``--json`` (``as_is``: without, it prints JSON anyway) and return what it printed."""
        return json.loads(self(*args, *(() if as_is else ("--json",)), typed=typed, expect=expect).stdout)

    def refused(self, *args: str, typed: str | None = None, expect: int = 1) -> str:
        """Run a command that is refused; return why."""
        result = self(*args, typed=typed, expect=expect)
        assert result.stdout == ""
        return " ".join(result.stderr.split())


def every_command() -> list[tuple[str, click.Command]]:
    """Return each command and group with the words that call it."""
    found: list[tuple[str, click.Command]] = []

    def walk(words: tuple[str, ...], command: click.Command) -> None:
        found.append((" ".join(words), command))
        if isinstance(command, click.Group):
            ctx = click.Context(command, info_name=words[-1])
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                walk((*words, name), child)

    walk(("mintmark",), cli)
    return found
