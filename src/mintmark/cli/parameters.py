"""Options and arguments that many commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

CONFIG: Final = click.Path(dir_okay=False, path_type=Path)
_CONFIG_KEY: Final = "mintmark.config"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
yes_option = click.option("--yes", "-y", "is_sure", is_flag=True, help="Do it without asking.")
password_stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


def choose_config(ctx: click.Context, config: Path | None) -> None:
    """Remember ``--config``, wherever on the line it stood."""
    if config is not None:
        ctx.meta[_CONFIG_KEY] = config


def chosen_config() -> Path | None:
    """Return what ``--config`` said, if it was given."""
    found: Path | None = click.get_current_context().meta.get(_CONFIG_KEY)
    return found


def config_option(command: Command) -> Command:
    """Let ``--config`` stand behind the command as well as before it."""
    return click.option(
        "--config",
        type=CONFIG,
        metavar="FILE",
        expose_value=False,
        callback=lambda ctx, _, value: choose_config(ctx, value),
        help="Settings file instead of ./mintmark.toml.",
    )(command)


def example(*lines: str) -> str:
    """Return the end of a command's help: how it is used."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
