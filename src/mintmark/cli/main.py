"""The command ``mintmark``: what there is, found by name and imported when called, so that it starts quickly."""

import importlib
import keyword
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from mintmark import __version__
from mintmark.cli.groups import RefusingInJson
from mintmark.cli.parameters import CONFIG, choose_config

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Run": {
        "dev": "Start an authority for development: in memory, on this machine only.",
        "init": "Set up an authority in a folder: settings, keys, database, administrator.",
        "serve": "Run the authority.",
        "guard": "Answer a gateway (nginx, Traefik, Envoy, HAProxy) for each request whether it may pass.",
        "doctor": "Find out what is wrong, and how to mend it.",
    },
    "What is registered": {
        "resource": "Resources: the APIs that tokens are for.",
        "client": "Clients: the applications and services that get tokens.",
        "role": "Roles: named bundles of permissions at a resource.",
        "user": "Users: the people who sign in.",
    },
    "Operate": {
        "keys": "Signing keys: look, rotate, retire, export.",
        "token": "Tokens: look into one, take one back, issue one.",
        "audit": "The audit log: who did what, when.",
        "migrate": "Bring the schema of the database up to date.",
        "export": "Write everything in the database into one file.",
        "import": "Take what `mintmark export` wrote into an empty database.",
    },
    "This command line": {
        "completion": "Print the script that completes mintmark's commands in a shell.",
    },
}
"""What ``mintmark --help`` says; the same texts as the commands themselves (a test compares them)."""

ALIASES: Final = {"key": "keys"}
NAMES: Final = tuple(name for commands in SECTIONS.values() for name in commands)


class LazyGroup(RefusingInJson):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, in the order of the help."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in NAMES:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name
        found: click.Command = importlib.import_module(f"mintmark.cli.{module}").command
        return found

    def names(self, ctx: click.Context) -> Sequence[str]:  # noqa: ARG002
        """Return all names, other spellings too."""
        return (*NAMES, *ALIASES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing any."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()), col_max=14)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: mintmark dev",
)
@click.option("--config", "config", type=CONFIG, metavar="FILE", help="Settings file instead of ./mintmark.toml.")
@click.version_option(__version__, prog_name="mintmark", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Mint, rotate, verify and revoke tokens: the token authority for microservices.

    Exit codes: 0 done, 1 failed or refused, 2 wrong usage or settings.
    """
    choose_config(ctx, config)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    cli.main(args=None if args is None else list(args), prog_name="mintmark")


if __name__ == "__main__":
    main()
