"""Finding what a command names; whatever is not there is refused with the nearest name that is."""

from mintmark.authority.core import Authority
from mintmark.authority.model import SUBJECT_PREFIX, Client, Resource, Role, SigningKey, User
from mintmark.cli.refusal import Refusal, unknown


async def find_client(authority: Authority, client_id: str) -> Client:
    """Return a client.

    Raises:
        Refusal: There is none of that name.
    """
    client = await authority.store.clients.get(client_id)
    if client is None:
        raise unknown("client", client_id, [known.client_id for known in await authority.store.clients.all()])
    return client


async def find_user(authority: Authority, name: str) -> User:
    """Return a user by email or by subject.

    Raises:
        Refusal: There is none of that name.
    """
    user = await (
        authority.store.users.get(name) if name.startswith(SUBJECT_PREFIX) else authority.store.users.by_email(name)
    )
    if user is None:
        known = await authority.store.users.all()
        raise unknown("user", name, [*(user.email for user in known), *(user.subject for user in known)])
    return user


async def find_role(authority: Authority, name: str) -> Role:
    """Return a role.

    Raises:
        Refusal: There is none of that name.
    """
    role = await authority.store.roles.get(name)
    if role is None:
        raise unknown("role", name, [known.name for known in await authority.store.roles.all()])
    return role


async def find_resource(authority: Authority, name: str) -> Resource:
    """Return a resource.

    Raises:
        Refusal: There is none of that name.
    """
    resource = await authority.store.resources.get(name)
    if resource is None:
        raise unknown("resource", name, [known.resource for known in await authority.store.resources.all()])
    return resource


def find_key(authority: Authority, kid: str) -> SigningKey:
    """Return a signing key by its kid, or by the beginning of it if only one begins so.

    Raises:
        Refusal: There is none, or more than one.
    """
    rows = authority.keyring.rows
    found = [row for row in rows if row.kid == kid] or [row for row in rows if row.kid.startswith(kid)]
    if len(found) > 1:
        raise Refusal(f"{len(found)} keys begin with {kid!r}; give more of the kid")
    if not found:
        raise unknown("key", kid, [row.kid for row in rows], plural="keys")
    return found[0]
