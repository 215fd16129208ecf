"""What commands show of the authority's values: plain dictionaries, never a secret. The shape of ``--json``."""

from dataclasses import asdict
from typing import Any

from mintmark.authority import keys as schedule
from mintmark.authority.model import AuditEvent, Client, Resource, Role, SigningKey, User
from mintmark.authority.policy import Policy


def client_view(client: Client, policy: Policy) -> dict[str, Any]:
    """Return a registration; ``lifetimes`` are those in force, ``secrets`` how many are valid."""
    shown = asdict(client)
    shown["secrets"] = len(shown.pop("secret_digests"))
    return {**_lists(shown), "lifetimes": asdict(client.lifetimes(policy))}


def to_paste(client: Client, policy: Policy) -> dict[str, Any]:
    """Return what the person who just registered ``client`` needs: what was chosen, and where the authority is."""
    usual = client_view(Client(client_id=client.client_id, name=client.client_id), policy)
    shown = client_view(client, policy)
    chosen = {
        name: part for name, part in shown.items() if part != usual[name] and name not in {"created_at", "secrets"}
    }
    return {
        "client_id": client.client_id,
        **chosen,
        "issuer": policy.issuer,
        "discovery": f"{policy.issuer}/.well-known/openid-configuration",
    }


def user_view(user: User) -> dict[str, Any]:
    """Return an account."""
    shown = asdict(user)
    del shown["password_hash"]
    return _lists(shown)


def resource_view(resource: Resource) -> dict[str, Any]:
    """Return a resource."""
    return _lists(asdict(resource))


def role_view(role: Role) -> dict[str, Any]:
    """Return a role."""
    return _lists(asdict(role))


def key_view(key: SigningKey, now: int) -> dict[str, Any]:
    """Return a key's schedule and its state at ``now``."""
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": schedule.state(key, now),
        "published_at": key.published_at,
        "active_at": key.active_at,
        "retired_at": key.retired_at,
        "removed_at": key.removed_at,
        "compromised": key.compromised,
    }


def audit_view(event: AuditEvent) -> dict[str, Any]:
    """Return an event."""
    return asdict(event)


def _lists(value: dict[str, Any]) -> dict[str, Any]:
    return {name: list(part) if isinstance(part, tuple) else part for name, part in value.items()}
