"""``mintmark client``: the applications and services that get tokens."""

from dataclasses import replace
from typing import Any

import click

from mintmark.authority import registration
from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.authority.ports import AlreadyExistsError
from mintmark.cli.client_options import CLEARABLE, KINDS, defaults_of, given_fields, registration_options
from mintmark.cli.client_scopes import scope_problems
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_client
from mintmark.cli.opening import on_authority
from mintmark.cli.output import say, show, show_all
from mintmark.cli.parameters import example, json_option, yes_option
from mintmark.cli.refusal import Refusal, confirm, taken
from mintmark.cli.views import client_view, to_paste

SECRET_NOTE = "The secret is shown this once; the authority keeps only its digest. Put it where the client reads it."


@click.group("client", cls=Group)
def command() -> None:
    """Clients: the applications and services that get tokens."""


@command.command("list", epilog=example("mintmark client list"))
@json_option
@on_authority
async def list_clients(authority: Authority, as_json: bool) -> None:
    """List all clients."""
    rows = [client_view(client, authority.policy) for client in await authority.store.clients.all()]
    columns = ("client_id", "name", "grant_types", "classification", "created_at", "disabled_at")
    show_all(rows, columns, as_json=as_json, none="There are no clients; `mintmark client create` makes one.")


@command.command("show", epilog=example("mintmark client show billing"))
@json_option
@click.argument("client_id")
@on_authority
async def show_client(authority: Authority, client_id: str, as_json: bool) -> None:
    """Show one client."""
    show(client_view(await find_client(authority, client_id), authority.policy), as_json=as_json)


@command.command(
    "create",
    epilog=example(
        "mintmark client create billing --scope 'orders:read orders:write' --resource https://api.example",
        "mintmark client create shop --redirect-uri https://shop.example/callback --scope 'openid email'",
        "mintmark client create shop-cli --kind native --redirect-uri http://127.0.0.1/callback --scope openid",
    ),
)
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    help="service: acts for itself. web: signs people in on a server. spa, native: in a browser, on a device, "
    "without a secret.  [default: web with --redirect-uri, else service]",
)
@registration_options
@json_option
@click.argument("client_id")
@on_authority
async def create(authority: Authority, /, client_id: str, kind: str | None, as_json: bool, **options: Any) -> None:
    """Register a client; one that can keep a secret gets one, printed this once."""
    fields = given_fields(options)
    defaults = defaults_of(kind, fields.get("redirect_uris", ()))
    named = fields.get("resources", ())
    if len(named) == 1 and "default_resource" not in fields:
        fields["default_resource"] = named[0]
    client = Client(client_id=client_id, **{"name": client_id, **defaults, **fields})
    try:
        registered, secret = await registration.create_client(authority, client)
    except AlreadyExistsError as error:
        raise taken("client", client_id, "client_id") from error
    view = client_view(registered, authority.policy) if as_json else to_paste(registered, authority.policy)
    _show_secret(view, secret, as_json=as_json)
    await _warn(authority, registered)


@command.command(
    "update",
    epilog=example(
        "mintmark client update shop --redirect-uri https://shop.example/callback --access-token-lifetime 600",
        "mintmark client update shop --clear access-token-lifetime",
    ),
)
@registration_options
@click.option(
    "--clear", "cleared", multiple=True, type=click.Choice(list(CLEARABLE)), help="Empty a list, or go back to default."
)
@json_option
@click.argument("client_id")
@on_authority
async def update(
    authority: Authority, /, client_id: str, cleared: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Change a registration: what is given replaces what was there, all else stays.

    A list (such as the redirect URIs) is replaced as a whole.
    """
    old = await find_client(authority, client_id)
    fields = {CLEARABLE[name][0]: CLEARABLE[name][1] for name in cleared} | given_fields(options)
    if not fields:
        raise click.UsageError("nothing to change was given; `mintmark client update --help` lists the options")
    new = replace(old, **fields)
    if new.is_confidential and not new.secret_digests:
        raise Refusal(f"{client_id} has no secret; `mintmark client create` makes a new client that has one")
    await registration.update_client(authority, old, new)
    show(client_view(new, authority.policy), as_json=as_json)
    await _warn(authority, new)


@command.command("rotate-secret", epilog=example("mintmark client rotate-secret billing"))
@json_option
@click.argument("client_id")
@on_authority
async def rotate_secret(authority: Authority, client_id: str, as_json: bool) -> None:
    """Give a client a new secret; the one before it works until the next change."""
    client = await find_client(authority, client_id)
    secret = await registration.rotate_secret(authority, client)
    _show_secret({"client_id": client_id}, secret, as_json=as_json)
    say("The secret before it still works. Change the client, then rotate once more to end the old one.")


@command.command("disable", epilog=example("mintmark client disable billing"))
@yes_option
@json_option
@click.argument("client_id")
@on_authority
async def disable(authority: Authority, client_id: str, is_sure: bool, as_json: bool) -> None:
    """Disable a client: its grants end and its tokens are revoked, at once."""
    client = await find_client(authority, client_id)
    confirm(f"Disable {client_id}, end its grants and revoke its tokens?", is_sure=is_sure)
    changed = await registration.set_client_disabled(authority, client, is_disabled=True)
    show(client_view(changed, authority.policy), as_json=as_json)
    say(f"Disabled. `mintmark client enable {client_id}` lets it in again; its old tokens stay revoked.")


@command.command("enable", epilog=example("mintmark client enable billing"))
@json_option
@click.argument("client_id")
@on_authority
async def enable(authority: Authority, client_id: str, as_json: bool) -> None:
    """Enable a disabled client again."""
    client = await find_client(authority, client_id)
    changed = await registration.set_client_disabled(authority, client, is_disabled=False)
    show(client_view(changed, authority.policy), as_json=as_json)


@command.command("remove", epilog=example("mintmark client remove billing"))
@yes_option
@json_option
@click.argument("client_id")
@on_authority
async def remove(authority: Authority, client_id: str, is_sure: bool, as_json: bool) -> None:
    """Remove a client: its grants end and its tokens are revoked, at once."""
    client = await find_client(authority, client_id)
    confirm(f"Remove {client_id} for good, end its grants and revoke its tokens?", is_sure=is_sure)
    await registration.remove_client(authority, client)
    show({"client_id": client_id, "removed": True}, as_json=as_json)


def _show_secret(view: dict[str, Any], secret: str | None, *, as_json: bool) -> None:
    # The secret comes first for people; for machines the order means nothing.
    show({"client_secret": secret, **view}, as_json=as_json)
    if secret is not None:
        say(SECRET_NOTE)


async def _warn(authority: Authority, client: Client) -> None:
    for what, remedy in await scope_problems(client, authority):
        say(f"Warning: {what}; {remedy}.")
