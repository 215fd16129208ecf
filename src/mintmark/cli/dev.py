"""``mintmark dev``: one command, and there is an authority to try things on. In memory, on this machine only."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mintmark.cli.output import say
from mintmark.cli.parameters import example

if TYPE_CHECKING:
    import socket

    from mintmark.cli.demo import Demo
    from mintmark.config import Settings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
EXAMPLE: Final = Path("examples/login.py")
_PATIENCE: Final = 1
_PICK: Final = (
    "import json,sys; t=json.load(sys.stdin); print(json.dumps(t,indent=1),file=sys.stderr); print(t['refresh_token'])"
)


@click.command("dev", epilog=example("mintmark dev", "mintmark dev --port 9000"))
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    envvar="MINTMARK_PORT",
    show_default=True,
    show_envvar=True,
    help="Port to listen on.",
)
@click.option("--host", default=LOOPBACK[0], show_default=True, help="Loopback address to listen on.")
def command(port: int, host: str) -> None:
    """Start an authority for development: in memory, on this machine only.

    It comes with a user, an API and three clients, and prints lines to paste. It reads no settings, and
    everything is forgotten when it ends.
    """
    if host not in LOOPBACK:
        raise click.UsageError(
            f"`mintmark dev` listens on loopback only ({', '.join(LOOPBACK)}): its passwords are weak and its keys are "
            "thrown away. `mintmark init` and `mintmark serve` make an authority that others may reach."
        )
    from mintmark.cli import listening, logs

    listener = listening.listen(host, port, how_to_move=lambda free: f"`mintmark dev --port {free}`")
    logs.configure("info", "console")
    listening.run(_serve(host, port, listener))


async def _serve(host: str, port: int, listener: "socket.socket") -> None:
    from dataclasses import replace

    from mintmark.bootstrap import real_world, running
    from mintmark.cli import demo, serving

    world = replace(real_world(), has_cheap_passwords=True)
    settings = _settings(host, port, world.randomness.bytes(32))
    with listener:
        async with running(settings, world) as authority:
            beside = port + 1 if port < 65535 else port - 1
            things = await demo.furnish(authority, app_redirect_uri=f"http://127.0.0.1:{beside}/callback")
            await serving.serve(
                authority,
                listener,
                on_ready=lambda: click.echo(welcome(settings.issuer, things)),
                patience=_PATIENCE,
                cleanup_interval=settings.cleanup_interval,
                cleanup_batch=settings.cleanup_batch,
            )
    say("Stopped; everything is forgotten.")


def _settings(host: str, port: int, master_key: bytes) -> "Settings":
    from pydantic import SecretBytes

    from mintmark.cli.listening import url_of
    from mintmark.config import Settings

    return Settings(
        issuer=url_of(host, port), host=host, port=port, database="memory:", master_key=SecretBytes(master_key)
    )


def welcome(issuer: str, demo: "Demo") -> str:
    """Return what is printed once it is ready."""
    from mintmark.cli.demo import API, EMAIL, SCOPES, SERVICE, WEB_APP

    lines = "\n".join(lines_to_paste(issuer, demo.refresh_token))
    return f"""\
{click.style("mintmark dev: NOT for production. Everything is in memory; passwords are hashed cheaply.", fg="yellow")}

  issuer    {issuer}
  user      {EMAIL}  password: {demo.password}
  API       {API}  scopes: {" ".join(SCOPES)}
  service   {SERVICE}  secret: {demo.service_secret}
            client_credentials; introspects tokens for the API
  web app   {WEB_APP}  secret: {demo.app_secret}
            authorization_code with PKCE, refresh_token; redirect URI {demo.app_redirect_uri}

Refresh a token, revoke it, see it refused: paste these three lines into another shell.

{lines}

Sign in with a browser: {issuer}/login
{_whole_login(issuer, demo)}Stop with Ctrl-C."""


def _whole_login(issuer: str, demo: "Demo") -> str:
    """Return how to see a login from an application's side, if its example is here."""
    from mintmark.cli.demo import WEB_APP

    if not EXAMPLE.is_file():
        return ""
    application = demo.app_redirect_uri.removesuffix("/callback")
    port = application.rpartition(":")[2]
    return f"""
See a whole login, with the example application; then open {application}

PORT={port} ISSUER={issuer} CLIENT_ID={WEB_APP} CLIENT_SECRET={demo.app_secret} .venv/bin/python {EXAMPLE}

"""


def lines_to_paste(issuer: str, refresh_token: str) -> tuple[str, str, str]:
    """Return the three lines: refresh, revoke, refresh again, which is refused."""
    from mintmark.authority.metadata import PATHS
    from mintmark.cli.demo import NATIVE_APP

    curl = "curl -sS -g" if "[" in issuer else "curl -sS"
    token = issuer + PATHS["token_endpoint"]
    refresh = f"{curl} {token} -d grant_type=refresh_token -d client_id={NATIVE_APP} -d refresh_token="
    return (
        f'R=$({refresh}{refresh_token} | python3 -c "{_PICK}")',
        f"{curl} {issuer}{PATHS['revocation_endpoint']} -d client_id={NATIVE_APP} -d token=$R -w 'revoked: %{{http_code}}\\n'",
        f"{refresh}$R; echo",
    )
