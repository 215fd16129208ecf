"""Who lives in the database: an application, a service and many people who signed in long ago.

Grants are stored as they stand after their code was redeemed: nobody has to type hundreds of passwords.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import SecretBytes
from tests.chaos.cluster import MASTER_KEY, Cluster
from tests.support.nodes import API, CALLBACK

from mintmark import bootstrap
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Authorization, Client, Grant, Resource, User
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.config import Settings

SERVICE: Final = "service"
WEB: Final = "web"
_SCOPE: Final = ("offline_access", "orders:read")
_GRACE: Final = 3600
"""Seconds in which a lost response is answered again: no outage of a run, and no busy machine, uses them up."""


@dataclass(frozen=True)
class Seed:
    """A grant, as its client knows it."""

    gid: str
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class Inhabitants:
    """Who there is.

    Attributes:
        secrets: Client secrets by ``client_id``.
    """

    grants: list[Seed]
    secrets: dict[str, str] = field(repr=False)

    @property
    def credentials(self) -> dict[str, str]:
        """Form members that authenticate the application."""
        return {"client_id": WEB, "client_secret": self.secrets[WEB]}


def settings_of(cluster: Cluster, common: dict[str, Any]) -> Settings:
    """Return settings with which this process can look into the database, past all proxies."""
    return Settings(
        issuer=cluster.issuer,
        database=cluster.postgres.url("mintmark"),
        master_key=SecretBytes(MASTER_KEY),
        **common,
    )


async def settle(settings: Settings, grants: int) -> Inhabitants:
    """Put everybody into an empty database."""
    async with bootstrap.running(settings) as authority:
        await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
        secrets = {}
        for client in _clients():
            _, secret = await create_client(authority, client)
            assert secret is not None
            secrets[client.client_id] = secret
        web = await authority.store.clients.get(WEB)
        assert web is not None
        found = await asyncio.gather(*(_grant(authority, web, number) for number in range(grants)))
        return Inhabitants(found, secrets)


def _clients() -> list[Client]:
    common: dict[str, Any] = {
        "redirect_uris": (CALLBACK,),
        "scope": _SCOPE,
        "resources": (API,),
        "access_token_signed_response_alg": "ES256",
        "id_token_signed_response_alg": "ES256",
    }
    return [
        Client(client_id=WEB, name="Web app", refresh_grace=_GRACE, **common),
        Client(
            client_id=SERVICE,
            name="Order service",
            grant_types=("client_credentials",),
            scope=("orders:read",),
            resources=(API,),
            default_resource=API,
            serves=(API,),
            access_token_signed_response_alg="ES256",
            id_token_signed_response_alg="ES256",
        ),
    ]


async def _grant(authority: Authority, client: Client, number: int) -> Seed:
    now = authority.clock.now()
    lifetimes = client.lifetimes(authority.policy)
    subject = f"usr_{number}"
    await authority.store.users.add(User(subject=subject, email=f"person{number}@example.com"))
    grant = Grant(
        id=authority.randomness.bytes(16),
        client_id=client.client_id,
        subject=subject,
        sid=None,
        salt=authority.randomness.bytes(16),
        generation=1,
        authorization=Authorization(scope=_SCOPE, resources=(API,), auth_time=now, acr="pwd", amr=("pwd",)),
        binding=None,
        created_at=now,
        advanced_at=now,
        idle_expires_at=now + lifetimes.refresh_idle_lifetime,
        expires_at=now + lifetimes.refresh_token_lifetime,
        access_expires_at=now + lifetimes.access_token_lifetime,
    )
    await authority.store.grants.add(grant, AuditEvent(at=now, event="code.issued", gid=grant.gid))
    return Seed(grant.gid, authority.keyring.secrets.derive("refresh", grant, 1))
