"""What the store in memory keeps."""

from dataclasses import dataclass, field, fields, replace

from mintmark.authority.model import (
    AuditEvent,
    Client,
    Consent,
    Grant,
    Resource,
    Role,
    ServerSecret,
    Session,
    SigningKey,
    User,
)
from mintmark.authority.ports import Lease, StoreUnavailableError
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rules


@dataclass(slots=True)
class Tables:
    """One dictionary for each kind of thing, by key."""

    clients: dict[str, Client] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    grants: dict[bytes, Grant] = field(default_factory=dict)
    sessions: dict[bytes, Session] = field(default_factory=dict)
    consents: dict[tuple[str, str], Consent] = field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)
    server_secrets: dict[int, ServerSecret] = field(default_factory=dict)
    revocations: dict[int, Revocation] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=lambda: {"last": 0})
    leases: dict[str, Lease] = field(default_factory=dict)
    audit: dict[int, AuditEvent] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return a copy; rows are frozen, so the dictionaries are all there is to copy."""
        return Tables(**{each.name: dict(getattr(self, each.name)) for each in fields(self)})

    def record(self, event: AuditEvent) -> None:
        """Append to the audit log."""
        self.audit[len(self.audit)] = event

    def revoke(self, revocation: Revocation) -> None:
        """Append to the revocations; a cursor is never given twice."""
        self.cursors["last"] += 1
        self.revocations[self.cursors["last"]] = replace(revocation, cursor=self.cursors["last"])

    def require_held(self, lease: Lease | None) -> None:
        """Let a write go on only if ``lease``, if there is one, is still held.

        Raises:
            SupersededError: Somebody else holds it by now.
        """
        if lease is None:
            return
        held = self.leases.get(lease.name)
        if held is None or (held.holder, held.fence) != (lease.holder, lease.fence):
            raise rules.superseded(lease)


class Disk:
    """The tables, while the store is open."""

    def __init__(self) -> None:
        self.content = Tables()
        self.is_closed = False

    @property
    def tables(self) -> Tables:
        """What is kept.

        Raises:
            StoreUnavailableError: The store is closed.
        """
        if self.is_closed:
            raise StoreUnavailableError("the store is closed")
        return self.content
