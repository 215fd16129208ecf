"""Changing who lives in an installation, as an operator does."""

from dataclasses import replace
from typing import Any

from tests.support.installation import Installation

from mintmark.authority.derivation import parse
from mintmark.authority.model import AuditEvent, Client, Grant, User
from mintmark.authority.people import create_user
from mintmark.authority.registration import update_client

ANOTHER_PASSWORD = "seven purple elephants dancing"


async def client_of(mint: Installation, client_id: str) -> Client:
    """Return a client as it is registered."""
    client = await mint.authority.store.clients.get(client_id)
    assert client is not None
    return client


async def change_client(mint: Installation, client_id: str, **changes: Any) -> Client:
    """Change a registration."""
    old = await client_of(mint, client_id)
    new = replace(old, **changes)
    await update_client(mint.authority, old, new)
    return new


async def user_of(mint: Installation, subject: str | None = None) -> User:
    """Return a user as stored; the demo user by default."""
    assert mint.user is not None
    user = await mint.authority.store.users.get(subject or mint.user.subject)
    assert user is not None
    return user


async def give_roles(mint: Installation, *roles: str) -> None:
    """Set the demo user's roles."""
    user = await user_of(mint)
    assert await mint.authority.store.users.replace(user, replace(user, roles=roles))


async def another_user(mint: Installation, email: str = "grace@example.com") -> User:
    """Create a second person."""
    return await create_user(mint.authority, email=email, password=ANOTHER_PASSWORD, name="Grace Hopper")


async def grant_of(mint: Installation, token: str) -> Grant:
    """Return the row behind a code or a refresh token."""
    presented = parse(token, "code" if token.startswith("mmc_") else "refresh")
    assert presented is not None
    grant = await mint.authority.store.grants.get(presented.grant_id)
    assert grant is not None
    return grant


async def events_of(mint: Installation, token: str) -> list[AuditEvent]:
    """Return the audit events about the grant behind a token, oldest first."""
    return (await mint.authority.store.audit.latest(100, gid=(await grant_of(mint, token)).gid))[::-1]
