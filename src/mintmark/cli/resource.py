"""``mintmark resource``: the APIs that tokens are for."""

import click

from mintmark.authority import registration
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Resource
from mintmark.authority.ports import AlreadyExistsError
from mintmark.cli.lookup import find_resource
from mintmark.cli.opening import on_authority
from mintmark.cli.output import show, show_all
from mintmark.cli.parameters import example, json_option, yes_option
from mintmark.cli.refusal import Refusal, confirm, taken
from mintmark.cli.views import resource_view


@click.group("resource")
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
        registered = await registration.create_resource(authority, wanted)
    except AlreadyExistsError as error:
        raise taken("resource", resource) from error
    audit = AuditEvent(at=authority.clock.now(), event="resource.created", detail={"resource": resource})
    await authority.store.audit.record(audit)
    show(resource_view(registered), as_json=as_json)


@command.command("remove", epilog=example("mintmark resource remove https://api.example"))
@yes_option
@json_option
@click.argument("resource")
@on_authority
async def remove(authority: Authority, resource: str, is_sure: bool, as_json: bool) -> None:
    """Remove a resource that no client and no role names."""
    await find_resource(authority, resource)
    roles = [f"role {role.name}" for role in await authority.store.roles.all() if role.resource == resource]
    clients = [
        f"client {client.client_id}"
        for client in await authority.store.clients.all()
        if resource in (*client.resources, *client.serves, client.default_resource)
    ]
    if roles or clients:
        users = ", ".join([*clients, *roles][:5]) + (" …" if len(roles) + len(clients) > 5 else "")
        raise Refusal(f"{resource} is named by {users}; change or remove them first")
    confirm(f"Remove the resource {resource}?", is_sure=is_sure)
    await authority.store.resources.remove(resource)
    audit = AuditEvent(at=authority.clock.now(), event="resource.removed", detail={"resource": resource})
    await authority.store.audit.record(audit)
    show({"resource": resource, "removed": True}, as_json=as_json)
