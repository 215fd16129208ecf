"""``mintmark serve``: the authority, in earnest."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mintmark.cli import place
from mintmark.cli.opening import MEMORY, load_settings, opened
from mintmark.cli.output import say
from mintmark.cli.parameters import config_option, example

if TYPE_CHECKING:
    import socket

    from mintmark.config import Settings

PATIENCE: Final = 10
"""Seconds that requests under way get to finish."""


@click.command("serve", epilog=example("mintmark serve", "mintmark serve --config /etc/mintmark/mintmark.toml"))
@config_option
def command() -> None:
    """Run the authority.

    Prints one line when it is ready; stops gracefully on SIGTERM and SIGINT.
    """
    settings = load_settings()
    # Serving needs all of it; loaded after the settings, so that mistakes there are told at once.
    from mintmark.cli import listening, logs

    listener = listening.listen(
        settings.host,
        settings.port,
        how_to_move=lambda port: place.how_to_move(settings, port),
    )
    if (wrong := place.mismatch(settings)) is not None:
        say(f"Warning: {wrong[0]}; {wrong[1]}.")
    logs.configure(settings.log_level, settings.log_format)
    if settings.database == MEMORY:
        say("The database is `memory:`: everything is forgotten when this process ends.")
    elif not Path(settings.database).exists():
        say(f"There is no database at {settings.database} yet; making an empty one.")
    listening.run(_serve(settings, listener))


async def _serve(settings: "Settings", listener: "socket.socket") -> None:
    from mintmark.cli import listening, serving

    def ready() -> None:
        where = listening.url_of(settings.host, settings.port)
        click.echo(f"mintmark is ready: {settings.issuer} (listening on {where})")

    with listener:
        async with opened(settings) as authority:
            await serving.serve(
                authority,
                listener,
                on_ready=ready,
                patience=PATIENCE,
                cleanup_interval=settings.cleanup_interval,
                cleanup_batch=settings.cleanup_batch,
                trusted_proxies=settings.trusted_proxies,
            )
    say("mintmark has stopped.")
