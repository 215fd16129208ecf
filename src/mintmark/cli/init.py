"""``mintmark init``: from nothing to an authority that ``mintmark serve`` can run."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from mintmark.cli.output import emit_json
from mintmark.cli.parameters import example, json_option, password_stdin_option

if TYPE_CHECKING:
    from mintmark.authority.model import Client
    from mintmark.cli.founding import Founded
    from mintmark.config import Settings


@click.command(
    "init",
    epilog=example(
        "mintmark init --issuer https://auth.example.com --admin-email ada@example.com",
        "mintmark init --dir /srv/mintmark --admin-email ada@example.com --password-stdin --json < password.txt",
    ),
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default=".",
    help="Folder to set up; made if it is missing.",
)
@click.option(
    "--issuer", default="http://127.0.0.1:8080", show_default=True, help="Public URL, as clients will see it, for ever."
)
@click.option("--admin-email", help="Email of the first administrator.  [default: asks]")
@click.option("--client-id", default="first-client", show_default=True, help="The first client.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Makes the first client a web application.")
@password_stdin_option
@json_option
def command(
    folder: Path,
    issuer: str,
    admin_email: str | None,
    client_id: str,
    redirect_uris: tuple[str, ...],
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Set up an authority in a folder: settings, keys, database, administrator.

    Nothing that exists is overwritten. The password is asked for, or read with --password-stdin.
    """
    # The settings first: a wrong issuer is told before anything is asked.
    from mintmark.cli import founding, logs
    from mintmark.cli.opening import explained, real_world

    founding.refuse_what_exists(folder)
    master_key = real_world().randomness.bytes(32)
    settings = _settings(issuer, master_key)
    logs.configure("warning", "console")
    email = _email(admin_email, from_stdin=password_stdin)
    with explained(settings):
        password = asyncio.run(_password(settings, email, from_stdin=password_stdin))
    founding.write_files(folder, _settings_text(settings), master_key)
    try:
        done = asyncio.run(_found(folder, email, password, client_id, redirect_uris))
    except BaseException:  # an interrupt as well: half an authority is worse than none
        founding.remove_files(folder)
        raise
    _report(folder, settings, email, done, as_json=as_json)


def _settings(issuer: str, master_key: bytes) -> "Settings":
    from pydantic import SecretBytes

    from mintmark.config import Settings
    from mintmark.config.settings import issuer_problem

    if problem := issuer_problem(issuer):
        raise click.UsageError(f"--issuer {problem}")
    parts = urlsplit(issuer)
    # On this machine the issuer says where to listen; behind a proxy the proxy does.
    port = (parts.port or 80) if parts.scheme == "http" else 8080
    return Settings(issuer=issuer, port=port, master_key=SecretBytes(master_key))


def _settings_text(settings: "Settings") -> str:
    from mintmark.cli.founding import DATABASE, KEY_FILE
    from mintmark.config import example_toml

    return example_toml(issuer=settings.issuer, port=settings.port, database=DATABASE, master_key_file=KEY_FILE)


def _email(given: str | None, *, from_stdin: bool) -> str:
    if given is not None:
        return given
    if from_stdin:
        raise click.UsageError("--password-stdin needs --admin-email as well")
    try:
        return str(click.prompt("Email of the first administrator", err=True))
    except click.Abort as error:
        if sys.stdin.isatty():  # somebody is there, and does not want to
            raise
        click.echo(err=True)
        raise click.UsageError("nobody is there to answer: give --admin-email, and --password-stdin as well") from error


async def _password(settings: "Settings", email: str, *, from_stdin: bool) -> str:
    from mintmark.cli.asking import ask_password
    from mintmark.cli.founding import require_good_password

    async def check(password: str) -> None:
        await require_good_password(settings, email, password)

    return await ask_password(check, from_stdin=from_stdin, prompt=f"Password for {email}")


async def _found(folder: Path, email: str, password: str, client_id: str, redirect_uris: tuple[str, ...]) -> "Founded":
    from mintmark.cli.founding import SETTINGS_FILE, found
    from mintmark.cli.opening import opened
    from mintmark.config import load

    # What was written, and nothing of this environment: it may belong to another installation.
    async with opened(load(config_file=folder / SETTINGS_FILE, environ={})) as authority:
        return await found(authority, email=email, password=password, client_id=client_id, redirect_uris=redirect_uris)


def _report(folder: Path, settings: "Settings", email: str, done: "Founded", *, as_json: bool) -> None:
    from mintmark.cli.founding import ADMIN_ROLE, DATABASE, KEY_FILE, SETTINGS_FILE

    files = {
        "settings": str((folder / SETTINGS_FILE).absolute()),
        "master_key_file": str((folder / KEY_FILE).absolute()),
        "database": str((folder / DATABASE).absolute()),
    }
    if as_json:
        admin = {"email": email, "subject": done.subject, "roles": [ADMIN_ROLE]}
        client = {"client_id": done.client.client_id, "client_secret": done.client_secret}
        emit_json({"issuer": settings.issuer, **files, "admin": admin, "client": client})
        return
    config = "" if folder.absolute() == Path.cwd() else f" --config {files['settings']}"
    steps = [
        "Back up the master key, apart from the database: without it the keys in the database are lost.",
        "Put the client's secret where the client reads it; it is not shown again.",
        f"mintmark serve{config}",
        f"Sign in: {settings.issuer}/login",
        *_application(done.client, config),
        f"mintmark doctor{config}",
    ]
    numbered = "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))
    click.echo(f"""\
Made:
  {files["settings"]}  settings
  {files["master_key_file"]}  master key, readable by you alone
  {files["database"]}  database, with fresh signing keys
  administrator  {email}
                 with the role {ADMIN_ROLE}, for the coming admin API and console
  client         {done.client.client_id}  secret: {done.client_secret}
                 {_purpose(done.client)}

What comes next:
{numbered}""")


def _purpose(client: "Client") -> str:
    if client.redirect_uris:
        return f"a web application that signs people in; redirect URI {' '.join(client.redirect_uris)}"
    return "a service, for scripts and programs that get tokens of their own (client_credentials), without a person"


def _application(client: "Client", config: str) -> list[str]:
    """Return how to register the first application, unless there is one."""
    if client.redirect_uris:
        return []
    scope = "--scope 'openid profile email offline_access'"
    callback = "http://127.0.0.1:8000/callback"
    return [f"For an application: mintmark client create my-app --redirect-uri {callback} {scope}{config}"]
