"""``mintmark user``: the people who sign in."""

import click

from mintmark.authority import people
from mintmark.authority.core import Authority
from mintmark.authority.ports import AlreadyExistsError
from mintmark.cli.asking import ask_password
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_role, find_user
from mintmark.cli.opening import on_authority
from mintmark.cli.output import say, show, show_all
from mintmark.cli.parameters import example, json_option, password_stdin_option, yes_option
from mintmark.cli.refusal import Refusal, confirm, taken
from mintmark.cli.views import user_view


@click.group("user", cls=Group)
def command() -> None:
    """Users: the people who sign in.

    USER is an email or a subject (usr_…).
    """


@command.command("list", epilog=example("mintmark user list"))
@json_option
@on_authority
async def list_users(authority: Authority, as_json: bool) -> None:
    """List all users."""
    rows = [user_view(user) for user in await authority.store.users.all()]
    columns = ("email", "subject", "name", "roles", "created_at", "disabled_at")
    show_all(rows, columns, as_json=as_json, none="There are no users; `mintmark user create EMAIL` makes one.")


@command.command("show", epilog=example("mintmark user show ada@example.com"))
@json_option
@click.argument("user")
@on_authority
async def show_user(authority: Authority, user: str, as_json: bool) -> None:
    """Show one user."""
    show(user_view(await find_user(authority, user)), as_json=as_json)


@command.command(
    "create",
    epilog=example(
        "mintmark user create ada@example.com --name 'Ada Lovelace' --role editor",
        "mintmark user create grace@example.com --password-stdin < password.txt",
    ),
)
@click.option("--name", default="", help="Full name.")
@click.option("--role", "roles", multiple=True, help="Role to hold. May repeat.")
@password_stdin_option
@json_option
@click.argument("email")
@on_authority
async def create(
    authority: Authority, email: str, name: str, roles: tuple[str, ...], password_stdin: bool, as_json: bool
) -> None:
    """Create an account; asks for the password."""
    for role in roles:
        await find_role(authority, role)
    if await authority.store.users.by_email(email) is not None:
        raise taken("user", email, "email")

    async def check(password: str) -> None:
        await people.require_good_password(authority, password, email=email, name=name)

    password = await ask_password(check, from_stdin=password_stdin)
    try:
        user = await people.create_user(authority, email=email, password=password, name=name, roles=roles)
    except AlreadyExistsError as error:
        raise taken("user", email, "email") from error
    show(user_view(user), as_json=as_json)


@command.command(
    "set-password",
    epilog=example(
        "mintmark user set-password ada@example.com",
        "mintmark user set-password ada@example.com --password-stdin < password.txt",
    ),
)
@password_stdin_option
@json_option
@click.argument("user")
@on_authority
async def set_password(authority: Authority, user: str, password_stdin: bool, as_json: bool) -> None:
    """Set a password; all sessions and grants of the account end."""
    found = await find_user(authority, user)

    async def check(password: str) -> None:
        await people.require_good_password(authority, password, email=found.email, name=found.name)

    new = await ask_password(check, from_stdin=password_stdin, prompt="New password")
    await people.set_password(authority, found, new)
    show(user_view(await find_user(authority, found.subject)), as_json=as_json)
    say(f"{found.email} is signed out everywhere and signs in with the new password.")


@command.command("disable", epilog=example("mintmark user disable ada@example.com"))
@yes_option
@json_option
@click.argument("user")
@on_authority
async def disable(authority: Authority, user: str, is_sure: bool, as_json: bool) -> None:
    """Disable an account: its sessions and grants end at once."""
    found = await find_user(authority, user)
    confirm(f"Disable {found.email} and end all sessions and grants?", is_sure=is_sure)
    show(user_view(await people.set_disabled(authority, found, is_disabled=True)), as_json=as_json)
    say(f"Disabled. `mintmark user enable {found.email}` lets them in again.")


@command.command("enable", epilog=example("mintmark user enable ada@example.com"))
@json_option
@click.argument("user")
@on_authority
async def enable(authority: Authority, user: str, as_json: bool) -> None:
    """Enable a disabled account again."""
    found = await find_user(authority, user)
    show(user_view(await people.set_disabled(authority, found, is_disabled=False)), as_json=as_json)


@command.command("remove", epilog=example("mintmark user remove ada@example.com"))
@yes_option
@json_option
@click.argument("user")
@on_authority
async def remove(authority: Authority, user: str, is_sure: bool, as_json: bool) -> None:
    """Remove an account for good; its subject is never used again."""
    found = await find_user(authority, user)
    confirm(f"Remove {found.email} for good, with all sessions and grants?", is_sure=is_sure)
    await people.remove_user(authority, found)
    show({"subject": found.subject, "email": found.email, "removed": True}, as_json=as_json)


@command.command("sign-out", epilog=example("mintmark user sign-out ada@example.com"))
@yes_option
@json_option
@click.argument("user")
@on_authority
async def sign_out(authority: Authority, user: str, is_sure: bool, as_json: bool) -> None:
    """Sign a person out everywhere: sessions and grants end, access tokens are revoked."""
    found = await find_user(authority, user)
    confirm(f"Sign {found.email} out everywhere?", is_sure=is_sure)
    ended = await people.sign_out_everywhere(authority, found.subject, reason="signed_out_by_operator")
    show({"subject": found.subject, "email": found.email, "grants_ended": ended}, as_json=as_json)
    say("Signed out everywhere.")


@command.command("grant-role", epilog=example("mintmark user grant-role grace@example.com editor"))
@json_option
@click.argument("user")
@click.argument("role")
@on_authority
async def grant_role(authority: Authority, user: str, role: str, as_json: bool) -> None:
    """Give a role to a user."""
    found = await find_user(authority, user)
    await find_role(authority, role)
    if role in found.roles:
        raise Refusal(f"{found.email} has the role {role!r} already; there is nothing to do")
    changed = await people.set_roles(authority, found, (*found.roles, role))
    show(user_view(changed), as_json=as_json)
    say("It is in the access tokens issued from now on.")


@command.command("revoke-role", epilog=example("mintmark user revoke-role ada@example.com editor"))
@json_option
@click.argument("user")
@click.argument("role")
@on_authority
async def revoke_role(authority: Authority, user: str, role: str, as_json: bool) -> None:
    """Take a role from a user."""
    found = await find_user(authority, user)
    if role not in found.roles:
        held = " ".join(found.roles) or "none"
        raise Refusal(f"{found.email} does not have the role {role!r}; roles held: {held}")
    kept = tuple(name for name in found.roles if name != role)
    show(user_view(await people.set_roles(authority, found, kept)), as_json=as_json)
    say(f"Access tokens issued before keep it until they expire; `mintmark user sign-out {found.email}` ends them now.")
