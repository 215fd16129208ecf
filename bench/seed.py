"""A database with inhabitants, and what the load needs to know of them. Run as a child process.

A process of its own, so that the memory of the server is that of a server.
"""

import asyncio
from typing import Any, Final

import msgspec
from pydantic import SecretBytes

from bench import machine
from mintmark import bootstrap
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Authorization, Client, Grant, Resource, Role, User
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource, create_role
from mintmark.config import Settings
from mintmark.jose import base64url
from mintmark.jose.algorithms import Algorithm

ISSUER: Final = "https://id.example"
API: Final = "https://api.example"
SUBJECT: Final = "usr_ada"
MASTER_KEY: Final = bytes(range(32))
GRANTS: Final = 2048
"""For each client with refresh tokens: many more than connections."""

_SCOPES: Final = ("orders:read", "orders:write")
_PERMISSIONS: Final = ("orders:approve", "orders:cancel")
_OPENID: Final = ("openid", "profile", "email", "offline_access")


class Seeds(msgspec.Struct):
    """What is in the database.

    Attributes:
        secrets: Client secrets by ``client_id``.
        refresh_tokens: Refresh tokens by ``client_id``, one for each grant.
    """

    secrets: dict[str, str]
    refresh_tokens: dict[str, list[str]]


async def seed(database: str) -> Seeds:
    """Fill a new database: per algorithm a service and an application, and people who signed in to the latter."""
    settings = Settings(issuer=ISSUER, database=database, master_key=SecretBytes(MASTER_KEY))
    async with bootstrap.running(settings) as authority:
        await create_resource(
            authority, Resource(resource=API, name="Orders", scopes=_SCOPES, permissions=_PERMISSIONS)
        )
        await create_role(authority, Role(name="clerk", resource=API, permissions=_PERMISSIONS))
        await authority.store.users.add(
            User(subject=SUBJECT, email="ada@example.com", email_verified=True, name="Ada Lovelace", roles=("clerk",))
        )
        secrets, refresh_tokens = {}, {}
        for client in _clients():
            _, secret = await create_client(authority, client)
            assert secret is not None
            secrets[client.client_id] = secret
            if "refresh_token" in client.grant_types:
                scope = (*_OPENID, *_SCOPES) if client.client_id.startswith("openid") else (*_SCOPES, "offline_access")
                grants = [_grant(authority, client, scope) for _ in range(GRANTS)]
                event = AuditEvent(at=authority.clock.now(), event="code.issued")
                # No more at a time than PostgreSQL gets connections: nobody may wait long for one.
                for first in range(0, GRANTS, settings.database_connections):
                    some = grants[first : first + settings.database_connections]
                    await asyncio.gather(*(authority.store.grants.add(grant, event) for grant in some))
                derive = authority.keyring.secrets.derive
                # In the order of the random ids, so that grants refreshed together share no database pages.
                refresh_tokens[client.client_id] = sorted(derive("refresh", grant, 1) for grant in grants)
        return Seeds(secrets, refresh_tokens)


def _clients() -> list[Client]:
    common: dict[str, Any] = {"resources": (API,), "default_resource": API}
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    found = []
    for alg in algorithms:
        kind: dict[str, Any] = {**common, "name": alg, "access_token_signed_response_alg": alg}
        found += [
            Client(
                client_id=f"service-{alg}", grant_types=("client_credentials",), scope=_SCOPES, serves=(API,), **kind
            ),
            Client(
                client_id=f"app-{alg}",
                redirect_uris=("https://app.example/callback",),
                scope=(*_SCOPES, "offline_access"),
                **kind,
            ),
        ]
    openid: dict[str, Any] = {**common, "scope": (*_OPENID, *_SCOPES), "redirect_uris": ("https://app.example/oidc",)}
    return [*found, Client(client_id="openid-RS256", name="OpenID", **openid)]


def _grant(authority: Authority, client: Client, scope: tuple[str, ...]) -> Grant:
    """Return a grant as it stands after its code was redeemed."""
    now = authority.clock.now()
    lifetimes = client.lifetimes(authority.policy)
    is_openid = "openid" in scope
    return Grant(
        id=authority.randomness.bytes(16),
        client_id=client.client_id,
        subject=SUBJECT,
        sid=base64url.encode(authority.randomness.bytes(16)),
        salt=authority.randomness.bytes(16),
        generation=1,
        authorization=Authorization(
            scope=scope, resources=(API, ISSUER) if is_openid else (API,), auth_time=now, acr="pwd", amr=("pwd",)
        ),
        binding=None,
        created_at=now,
        advanced_at=now,
        idle_expires_at=now + lifetimes.refresh_idle_lifetime,
        expires_at=now + lifetimes.refresh_token_lifetime,
        access_expires_at=now + lifetimes.access_token_lifetime,
    )


if __name__ == "__main__":
    (database_file,) = machine.pin_as_told()
    print(msgspec.json.encode(asyncio.run(seed(database_file))).decode())
