"""``mintmark role``: named bundles of permissions at a resource."""

import click

from mintmark.authority import resources
from mintmark.authority.core import Authority
from mintmark.authority.model import Role
from mintmark.authority.ports import AlreadyExistsError
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_resource, find_role
from mintmark.cli.opening import on_authority
from mintmark.cli.output import show, show_all
from mintmark.cli.parameters import example, json_option, yes_option
from mintmark.cli.refusal import confirm, taken
from mintmark.cli.views import role_view


@click.group("role", cls=Group)
def command() -> None:
    """Roles: named bundles of permissions at a resource."""


@command.command("list", epilog=example("mintmark role list"))
@json_option
@on_authority
async def list_roles(authority: Authority, as_json: bool) -> None:
    """List all roles."""
    rows = [role_view(role) for role in await authority.store.roles.all()]
    columns = ("name", "resource", "permissions", "created_at")
    show_all(rows, columns, as_json=as_json, none="There are no roles; `mintmark role create` makes one.")


@command.command("show", epilog=example("mintmark role show editor"))
@json_option
@click.argument("name")
@on_authority
async def show_role(authority: Authority, name: str, as_json: bool) -> None:
    """Show one role."""
    show(role_view(await find_role(authority, name)), as_json=as_json)


@command.command(
    "create",
    epilog=example("mintmark role create editor --resource https://api.example --permission orders:write"),
)
@click.option("--resource", required=True, help="Resource at which it counts.")
@click.option("--permission", "permissions", multiple=True, help="Permission it carries. May repeat.")
@json_option
@click.argument("name")
@on_authority
async def create(authority: Authority, name: str, resource: str, permissions: tuple[str, ...], as_json: bool) -> None:
    """Create a role."""
    await find_resource(authority, resource)
    try:
        role = await resources.create_role(authority, Role(name=name, resource=resource, permissions=permissions))
    except AlreadyExistsError as error:
        raise taken("role", name) from error
    show(role_view(role), as_json=as_json)


@command.command("remove", epilog=example("mintmark role remove editor"))
@yes_option
@json_option
@click.argument("name")
@on_authority
async def remove(authority: Authority, name: str, is_sure: bool, as_json: bool) -> None:
    """Remove a role that nobody holds."""
    role = await find_role(authority, name)
    confirm(f"Remove the role {name}?", is_sure=is_sure)
    await resources.remove_role(authority, role)
    show({"name": name, "removed": True}, as_json=as_json)
