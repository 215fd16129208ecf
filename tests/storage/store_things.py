"""Every adapter, and values to store."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mintmark.authority.model import (
    AuditEvent,
    Authorization,
    Client,
    CodeBinding,
    Consent,
    Grant,
    Resource,
    Role,
    ServerSecret,
    Session,
    SigningKey,
    User,
)
from mintmark.authority.ports import Advance, Lease, Store
from mintmark.oauth.revocations import Revocation
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import SQLiteStore

NOW = 1_700_000_000
ADAPTERS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda directory: SQLiteStore.open(directory / "mintmark.db", now=NOW),
}
"""By name: opens an empty store whose files, if it has any, are in the directory. PostgreSQL: see ``conftest``."""


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def grant_id(name: object) -> bytes:
    return digest(name)[:16]


def event(name: str = "test", **members: Any) -> AuditEvent:
    return AuditEvent(**{"at": NOW, "event": name, **members})


def client(client_id: str = "shop", **members: Any) -> Client:
    return Client(**{"client_id": client_id, "name": "Shop", "scope": ("openid", "read"), **members})


def resource(name: str = "https://api.example", **members: Any) -> Resource:
    return Resource(**{"resource": name, "name": "API", "scopes": ("read",), **members})


def role(name: str = "editor", **members: Any) -> Role:
    return Role(**{"name": name, "resource": "https://api.example", "permissions": ("posts:write",), **members})


def user(subject: str = "usr_ada", email: str = "ada@example.com", **members: Any) -> User:
    return User(**{"subject": subject, "email": email, "password_hash": "$argon2id$x", "roles": ("editor",), **members})


def authorization(**members: Any) -> Authorization:
    values = {
        "scope": ("openid", "read"),
        "resources": ("https://api.example",),
        "auth_time": NOW,
        "acr": "pwd",
        "amr": ("pwd", "otp"),
        "claims": {"name": "Ada", "nested": {"list": [1, None, True]}},
    }
    return Authorization(**{**values, **members})


BINDING = CodeBinding(redirect_uri="https://shop.example/cb", code_challenge="c" * 43, nonce="n")


def grant(name: object = "g", **members: Any) -> Grant:
    values = {
        "id": grant_id(name),
        "client_id": "shop",
        "subject": "usr_ada",
        "sid": "sid1",
        "salt": digest(name)[16:],
        "generation": 0,
        "authorization": authorization(),
        "binding": BINDING,
        "created_at": NOW,
        "advanced_at": NOW,
        "idle_expires_at": NOW + 60,
        "expires_at": NOW + 1000,
    }
    return Grant(**{**values, **members})


def refreshed(name: object = "g", **members: Any) -> Grant:
    """A grant past its code, with an access token alive until NOW + 100."""
    values = {"generation": 1, "binding": None, "idle_expires_at": NOW + 500, "access_expires_at": NOW + 100}
    return grant(name, **{**values, **members})


def step(name: object = "g", expected: int = 0, **members: Any) -> Advance:
    values = {
        "id": grant_id(name),
        "expected": expected,
        "generation": expected + 1,
        "at": NOW + 5,
        "idle_expires_at": NOW + 300,
        "access_expires_at": NOW + 200,
    }
    return Advance(**{**values, **members})


def session(name: object = "s", **members: Any) -> Session:
    values = {
        "digest": digest(name),
        "sid": f"sid_{name}",
        "subject": "usr_ada",
        "auth_time": NOW,
        "acr": "pwd",
        "amr": ("pwd",),
        "user_agent": "Browser/1.0 (ü)",
        "idle_expires_at": NOW + 100,
        "expires_at": NOW + 1000,
    }
    return Session(**{**values, **members})


def consent(subject: str = "usr_ada", client_id: str = "shop", **members: Any) -> Consent:
    values = {"scope": ("openid",), "resources": ("https://api.example",), "granted_at": NOW}
    return Consent(**{"subject": subject, "client_id": client_id, **values, **members})


def signing_key(kid: str = "k1", **members: Any) -> SigningKey:
    values = {
        "alg": "ES256",
        "public_jwk": {"kty": "EC", "kid": kid},
        "wrapped": b"\x00wrapped\xff",
        "published_at": NOW,
        "active_at": NOW + 600,
    }
    return SigningKey(**{"kid": kid, **values, **members})


def secret(version: int = 1, **members: Any) -> ServerSecret:
    return ServerSecret(**{"version": version, "wrapped": b"\x00secret\xff", "created_at": NOW, **members})


def revocation(value: str = "jti1", **members: Any) -> Revocation:
    return Revocation(**{"kind": "jti", "value": value, "expires_at": NOW + 100, **members})


def lease(holder: str = "one", **members: Any) -> Lease:
    return Lease(**{"name": "upkeep", "holder": holder, "fence": 1, "beat": 0, **members})


async def events(store: Store) -> list[str]:
    """The names of all events, oldest first."""
    return [each.event for each in await store.audit.latest(1000)][::-1]


async def revoked(store: Store) -> list[tuple[str, str, int]]:
    """Kind, value and expiry of all revocations, in order."""
    return [(each.kind, each.value, each.expires_at) for each in await store.revocations.after(0, 1000)]
