"""``mintmark dev``: one command, and there is an authority to try things on. In memory, on this machine only."""

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

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
_PICK: Final = "import json,sys; print(json.load(sys.stdin)['access_token'])"
# One process does both, so that starting another is not measured. Each request opens a connection, as any client would.
_REVOKE: Final = (
    "import time, http.client as h; "
    "ask = lambda host, *what: [c := h.HTTPConnection(host), c.request(*what), c.getresponse().status][2]; "
    "form = {{'Content-Type': 'application/x-www-form-urlencoded'}}; "
    "print('revoked:', ask('{authority}', 'POST', '{path}', '{form}&token=$T', form)); "
    "t, s = time.perf_counter(), []; "
    "all(iter(lambda: s.append(ask('{api}', 'GET', '{orders}', None, {{'Authorization': 'Bearer $T'}})) or s[-1] == 200, False)); "
    "print(f'rejected: {{s[-1]}} after {{1000 * (time.perf_counter() - t):.1f}} ms; accepted in between: {{len(s) - 1}}')"
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

    It comes with a user, three clients and an API that verifies tokens, and prints lines to paste. It reads no
    settings, and everything is forgotten when it ends.
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
    from mintmark.cli import demo, demo_api, serving
    from mintmark.cli.listening import url_of
    from mintmark.web.streaming import Feed

    world = replace(real_world(), has_cheap_passwords=True)
    settings = _settings(host, port, world.randomness.bytes(32))
    with listener, demo_api.listen_near(host, port) as api_listener:
        api = url_of(host, api_listener.getsockname()[1])
        async with running(settings, world) as authority:
            beside = port + 1 if port < 65535 else port - 1
            things = await demo.furnish(authority, app_redirect_uri=f"http://127.0.0.1:{beside}/callback")
            feed = Feed(authority)
            with demo_api.answering(api_listener, settings.issuer, things.service_secret) as verifier:
                # Or it would complain that the authority has gone.
                feed.stopped.add_done_callback(lambda _: verifier.close())
                await serving.serve(
                    authority,
                    listener,
                    on_ready=lambda: click.echo(welcome(settings.issuer, api, things)),
                    patience=_PATIENCE,
                    cleanup_interval=settings.cleanup_interval,
                    cleanup_batch=settings.cleanup_batch,
                    feed=feed,
                )
    say("Stopped; everything is forgotten.")


def _settings(host: str, port: int, master_key: bytes) -> "Settings":
    from pydantic import SecretBytes

    from mintmark.cli.listening import url_of
    from mintmark.config import Settings

    return Settings(
        issuer=url_of(host, port), host=host, port=port, database="memory:", master_key=SecretBytes(master_key)
    )


def welcome(issuer: str, api: str, demo: "Demo") -> str:
    """Return what is printed once it is ready; ``api`` is where the demo API answers."""
    from mintmark.cli.demo import API, EMAIL, SCOPES, SERVICE, WEB_APP

    lines = "\n\n".join(lines_to_paste(issuer, api, demo.service_secret))
    return f"""\
{click.style("mintmark dev: NOT for production. Everything is in memory; passwords are hashed cheaply.", fg="yellow")}

  issuer    {issuer}
  user      {EMAIL}  password: {demo.password}
  API       {API}  scopes: {" ".join(SCOPES)}
            answers at {api}/orders; it verifies tokens by itself and hears of revocations
  service   {SERVICE}  secret: {demo.service_secret}
            client_credentials; serves the API
  web app   {WEB_APP}  secret: {demo.app_secret}
            authorization_code with PKCE, refresh_token; redirect URI {demo.app_redirect_uri}

Get a token and call the API; revoke it, and see how soon the API rejects it; call again. Paste these three lines into
another shell:

{lines}

The user has signed in to a command line. Refresh that; the same line again within 10 seconds gets the same refresh token:

{line_to_refresh(issuer, demo.refresh_token)}

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


def lines_to_paste(issuer: str, api: str, service_secret: str) -> tuple[str, str, str]:
    """Return the three lines: get a token and call the API; revoke it and wait for the API to reject it; call again."""
    from mintmark.authority.metadata import PATHS
    from mintmark.cli.demo import SERVICE
    from mintmark.cli.demo_api import PATH, SCOPE

    call = f"{_curl(api)} {api}{PATH} -H \"Authorization: Bearer $T\" -w ' %{{http_code}}\\n'"
    token = f"{_curl(issuer)} {issuer}{PATHS['token_endpoint']} -u {SERVICE}:{service_secret}"
    revoke = _REVOKE.format(
        authority=urlsplit(issuer).netloc,
        path=PATHS["revocation_endpoint"],
        form=f"client_id={SERVICE}&client_secret={service_secret}",
        api=urlsplit(api).netloc,
        orders=PATH,
    )
    return (
        f'T=$({token} -d grant_type=client_credentials -d scope={SCOPE} | python3 -c "{_PICK}"); {call}',
        f'python3 -c "{revoke}"',
        call,
    )


def line_to_refresh(issuer: str, refresh_token: str) -> str:
    """Return the line that refreshes the user's sign-in."""
    from mintmark.authority.metadata import PATHS
    from mintmark.cli.demo import NATIVE_APP

    form = f"-d grant_type=refresh_token -d client_id={NATIVE_APP} -d refresh_token={refresh_token}"
    return f"{_curl(issuer)} {issuer}{PATHS['token_endpoint']} {form}; echo"


def _curl(url: str) -> str:
    # curl takes brackets for ranges, unless told not to.
    return "curl -sS -g" if "[" in url else "curl -sS"
