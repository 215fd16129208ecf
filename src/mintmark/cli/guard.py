"""``mintmark guard``: the ingress of a gateway. Needs the extra ``[guard]`` and nothing of the authority."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mintmark.cli.output import say
from mintmark.cli.parameters import CONFIG, choose_config, chosen_config, example
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    import socket

    from mintmark.verifier.guard import Settings

FILE: Final = Path("guard.toml")
PORT: Final = 4180
PATIENCE: Final = 10
"""Seconds that requests under way get to finish."""


class _Unsound(Refusal):
    """The settings are not usable."""

    exit_code = 2


@click.command(
    "guard", epilog=example("mintmark guard --check", "mintmark guard --config /etc/mintmark/guard.toml --port 4180")
)
@click.option(
    "--config",
    type=CONFIG,
    metavar="FILE",
    expose_value=False,
    callback=lambda ctx, _, value: choose_config(ctx, value),
    help=f"What may pass, instead of ./{FILE}.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port to listen on.")
@click.option("--check", "is_check", is_flag=True, help="Only look at the settings.")
def command(host: str, port: int, is_check: bool) -> None:
    """Answer a gateway (nginx, Traefik, Envoy, HAProxy) for each request whether it may pass.

    Prints one line when it is ready; stops gracefully on SIGTERM and SIGINT. Only the gateway must be able to reach it:
    what it says about tokens is nobody else's business. docs/guard.md has the settings, and a configuration for each
    gateway.
    """
    file = chosen_config() or FILE
    settings = _settings(file)
    if is_check:
        click.echo(f"{file} is in order.")
        return
    from mintmark.cli import listening

    listener = listening.listen(host, port, how_to_move=lambda free: f"`mintmark guard --port {free}`")
    _log_to_standard_error()
    listening.run(_serve(settings, listener, listening.url_of(host, port)))


def _settings(file: Path) -> "Settings":
    import os

    from mintmark.verifier.guard import SettingsUnsound, read_settings

    try:
        return read_settings(file, os.environ)
    except SettingsUnsound as error:
        listed = "\n".join(f"  - {problem}" for problem in error.problems)
        raise _Unsound(f"{file} cannot be used:\n{listed}") from None


def _log_to_standard_error() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


async def _serve(settings: "Settings", listener: "socket.socket", url: str) -> None:
    from mintmark.cli import listening
    from mintmark.verifier.guard import Guard

    guard = Guard(settings.verifier, settings.routes)
    with listener, settings.verifier:
        await guard.prepare()
        await listening.answer(
            guard,
            listener,
            on_ready=lambda: click.echo(f"mintmark guard is ready: {url}"),
            on_stop=lambda: None,
            stop=listening.Stop(PATIENCE),
        )
    say("mintmark guard has stopped.")
