"""``mintmark resource``: the APIs that tokens are for."""

import click

from mintmark.authority import resources
from mintmark.authority.core import Authority
from mintmark.authority.model import Resource
from mintmark.authority.ports import AlreadyExistsError
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_resource
from mintmark.cli.opening import on_authority
from mintmark.cli.output import show, show_all
from mintmark.cli.parameters import example, json_option, yes_option
from mintmark.cli.refusal import confirm, taken
from mintmark.cli.views import resource_view


@click.group("resource", cls=Group)
def command() -> None:
    """Resources: the APIs that tokens are for."""


@command.command("list", epilog=example("mintmark resource list"))
@json_option
@on_authority
async def list_resources(authority: Authority, as_json: bool) -> None:
    """List all resources."""
    rows = [resource_view(resource) for resource in await authority.store.resources.all()]
    columns = ("resource", "name", "scopes", "permissions", "created_at")
    show_all(rows, columns, as_json=as_json, none="There are no resources; `mintmark resource create` makes one.")


@command.command("show", epilog=example("mintmark resource show https://api.example"))
@json_option
@click.argument("resource")
@on_authority
async def show_resource(authority: Authority, resource: str, as_json: bool) -> None:
    """Show one resource."""
    show(resource_view(await find_resource(authority, resource)), as_json=as_json)


@command.command(
    "create",
    epilog=example(
        "mintmark resource create https://api.example --scope 'orders:read orders:write' --permission orders:write"
    ),
)
@click.option("--name", help="What people see.  [default: the identifier]")
@click.option("--scope", "scopes", multiple=True, help="Scopes it understands, separated by spaces. May repeat.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    help="Permission it checks; a scope that is one as well needs a role that carries it. May repeat.",
)
@json_option
@click.argument("resource")
@on_authority
async def create(
    authority: Authority,
    resource: str,
    name: str | None,
    scopes: tuple[str, ...],
    permissions: tuple[str, ...],
    as_json: bool,
) -> None:
    """Register a resource: an absolute URI that becomes the audience of its tokens."""
    wanted = Resource(
        resource=resource,
        name=name or resource,
        scopes=tuple(dict.fromkeys(word for text in scopes for word in text.split())),
        permissions=tuple(dict.fromkeys(word for text in permissions for word in text.split())),
    )
    try:
        registered = await resources.create_resource(authority, wanted)
    except AlreadyExistsError as error:
        raise taken("resource", resource, "identifier") from error
    show(resource_view(registered), as_json=as_json)


@command.command("remove", epilog=example("mintmark resource remove https://api.example"))
@yes_option
@json_option
@click.argument("resource")
@on_authority
async def remove(authority: Authority, resource: str, is_sure: bool, as_json: bool) -> None:
    """Remove a resource that no client and no role names."""
    await find_resource(authority, resource)
    confirm(f"Remove the resource {resource}?", is_sure=is_sure)
    await resources.remove_resource(authority, resource)
    show({"resource": resource, "removed": True}, as_json=as_json)
