"""The store in memory, for tests and trials. No verb awaits anything in between, so each is whole."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

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
from mintmark.authority.ports import Advance, AlreadyExistsError, GrantSelector, Lease
from mintmark.oauth.revocations import Revocation
from mintmark.storage import rules
from mintmark.storage.memory_tables import Disk, Tables

Item = TypeVar("Item")
Key = TypeVar("Key", str, bytes, int)


class _Directory(Generic[Item]):
    def __init__(self, disk: Disk, name: str, key: Callable[[Item], str]) -> None:
        self._disk = disk
        self._name = name
        self._key = key

    @property
    def _items(self) -> dict[str, Item]:
        items: dict[str, Item] = getattr(self._disk.tables, self._name)
        return items

    def _require_free(self, item: Item) -> None:
        """Raise if something other than the name of ``item`` is taken."""

    async def get(self, key: str) -> Item | None:
        return self._items.get(key)

    async def all(self) -> list[Item]:
        return [item for _, item in sorted(self._items.items())]

    async def add(self, item: Item) -> None:
        if self._key(item) in self._items:
            raise AlreadyExistsError(self._key(item))
        self._require_free(item)
        self._items[self._key(item)] = item

    async def replace(self, old: Item, new: Item) -> bool:
        key = self._key(old)
        rules.require_same_key(key, self._key(new))
        if self._items.get(key) != old:
            return False
        self._require_free(new)
        self._items[key] = new
        return True

    async def remove(self, key: str) -> bool:
        return self._items.pop(key, None) is not None


class _Users(_Directory[User]):
    def _require_free(self, item: User) -> None:
        other = self._find(item.email)
        if other is not None and other.subject != item.subject:
            raise AlreadyExistsError(item.subject)

    def _find(self, email: str) -> User | None:
        wanted = rules.email_key(email)
        return next((user for user in self._items.values() if rules.email_key(user.email) == wanted), None)

    async def by_email(self, email: str) -> User | None:
        return self._find(email)


class _Grants:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def get(self, grant_id: bytes) -> Grant | None:
        return self._disk.tables.grants.get(grant_id)

    async def live(self, selector: GrantSelector, now: int) -> list[Grant]:
        rules.require_selector(selector)
        grants = self._disk.tables.grants.values()
        found = [grant for grant in grants if rules.is_selected(grant, selector) and rules.is_live(grant, now)]
        return sorted(found, key=lambda grant: (grant.created_at, grant.id))

    async def add(self, grant: Grant, audit: AuditEvent, *, if_session: str | None = None) -> bool:
        tables = self._disk.tables
        if if_session is not None and all(session.sid != if_session for session in tables.sessions.values()):
            return False
        if grant.id in tables.grants:
            raise AlreadyExistsError(grant.gid)
        tables.grants[grant.id] = grant
        tables.record(audit)
        return True

    async def advance(self, step: Advance) -> bool:
        rules.require_forward(step)
        tables = self._disk.tables
        grant = tables.grants.get(step.id)
        if grant is None or grant.generation != step.expected or grant.ended_at is not None:
            return False
        is_higher = step.generation > step.expected
        tables.grants[step.id] = replace(
            grant,
            generation=step.generation,
            binding=None if is_higher else grant.binding,
            advanced_at=step.at if is_higher else grant.advanced_at,
            idle_expires_at=step.idle_expires_at,
            access_expires_at=max(step.access_expires_at, grant.access_expires_at),
            replays=grant.replays + step.is_replay,
        )
        if step.audit is not None:
            tables.record(step.audit)
        return True

    async def end(
        self,
        selector: GrantSelector,
        *,
        reason: str,
        at: int,
        revoke_until: int = 0,
        keep_scope: str | None = None,
        audit: AuditEvent,
    ) -> int:
        rules.require_selector(selector)
        tables = self._disk.tables
        ending = [
            grant
            for grant in tables.grants.values()
            if rules.is_selected(grant, selector)
            and grant.ended_at is None
            and (keep_scope is None or keep_scope not in grant.authorization.scope)
        ]
        for grant in ending:
            tables.grants[grant.id] = replace(grant, ended_at=at, end_reason=reason)
            if max(grant.access_expires_at, revoke_until) > at:
                tables.revoke(rules.revocation_of(grant.gid, max(grant.access_expires_at, revoke_until)))
        tables.record(rules.counted(audit, len(ending)))
        return len(ending)


class _Sessions:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def get(self, digest: bytes) -> Session | None:
        return self._disk.tables.sessions.get(digest)

    async def of(self, subject: str) -> list[Session]:
        found = [session for session in self._disk.tables.sessions.values() if session.subject == subject]
        return sorted(found, key=lambda session: (-session.auth_time, session.sid))

    async def add(
        self, session: Session, *, replaces: bytes | None, if_user: User | None = None, audit: AuditEvent
    ) -> bool:
        tables = self._disk.tables
        if if_user is not None and not rules.is_same_proof(tables.users.get(if_user.subject), if_user):
            return False
        others = [other for digest, other in tables.sessions.items() if digest != replaces]
        if any(session.digest == other.digest or session.sid == other.sid for other in others):
            raise AlreadyExistsError(session.sid)
        if replaces is not None:
            tables.sessions.pop(replaces, None)
        tables.sessions[session.digest] = session
        tables.record(audit)
        return True

    async def touch(self, digest: bytes, idle_expires_at: int) -> None:
        sessions = self._disk.tables.sessions
        if digest in sessions:
            sessions[digest] = replace(sessions[digest], idle_expires_at=idle_expires_at)

    async def end(self, *, sid: str | None = None, subject: str | None = None, audit: AuditEvent) -> int:
        rules.require_selective(sid=sid, subject=subject)
        tables = self._disk.tables
        ending = [
            digest
            for digest, session in tables.sessions.items()
            if sid in (None, session.sid) and subject in (None, session.subject)
        ]
        for digest in ending:
            del tables.sessions[digest]
        if ending:
            tables.record(audit)
        return len(ending)


class _Consents:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def get(self, subject: str, client_id: str) -> Consent | None:
        return self._disk.tables.consents.get((subject, client_id))

    async def of(self, subject: str) -> list[Consent]:
        return [consent for (owner, _), consent in sorted(self._disk.tables.consents.items()) if owner == subject]

    async def put(self, consent: Consent, audit: AuditEvent) -> None:
        tables = self._disk.tables
        tables.consents[consent.subject, consent.client_id] = consent
        tables.record(audit)

    async def remove(self, subject: str, client_id: str, audit: AuditEvent) -> bool:
        tables = self._disk.tables
        if tables.consents.pop((subject, client_id), None) is None:
            return False
        tables.record(audit)
        return True


class _Keys:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def signing_keys(self) -> list[SigningKey]:
        return sorted(self._disk.tables.signing_keys.values(), key=lambda key: (key.published_at, key.kid))

    async def change(
        self,
        expected: Sequence[SigningKey],
        changed: Sequence[SigningKey],
        *,
        revocations: Sequence[Revocation] = (),
        audit: AuditEvent,
        lease: Lease | None = None,
    ) -> bool:
        tables = self._disk.tables
        tables.require_held(lease)
        if not rules.are_same_keys(tables.signing_keys, expected):
            return False
        tables.signing_keys.update({key.kid: key for key in changed})
        for revocation in revocations:
            tables.revoke(revocation)
        tables.record(audit)
        return True

    async def server_secrets(self) -> list[ServerSecret]:
        return sorted(self._disk.tables.server_secrets.values(), key=lambda secret: secret.version)

    async def add_server_secret(self, secret: ServerSecret) -> bool:
        secrets = self._disk.tables.server_secrets
        return secrets.setdefault(secret.version, secret) is secret

    async def rewrap(self, keys: Sequence[SigningKey], secrets: Sequence[ServerSecret], audit: AuditEvent) -> None:
        tables = self._disk.tables
        for key in keys:
            if key.kid in tables.signing_keys:
                tables.signing_keys[key.kid] = replace(tables.signing_keys[key.kid], wrapped=key.wrapped)
        for secret in secrets:
            stored = tables.server_secrets.get(secret.version)
            if stored is not None:
                tables.server_secrets[secret.version] = replace(stored, wrapped=secret.wrapped)
        tables.record(audit)

    async def forget_removed(self, now: int) -> int:
        keys = self._disk.tables.signing_keys
        return _drop(keys, lambda key: rules.is_key_removed(key, now), len(keys))


class _Revocations:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def add(self, revocation: Revocation, audit: AuditEvent) -> None:
        tables = self._disk.tables
        tables.revoke(revocation)
        tables.record(audit)

    async def after(self, cursor: int, limit: int) -> list[Revocation]:
        entries = self._disk.tables.revocations.values()
        return [entry for entry in entries if entry.cursor > cursor][:limit]


class _Leases:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def get(self, name: str) -> Lease | None:
        return self._disk.tables.leases.get(name)

    async def put(self, expected: Lease | None, lease: Lease) -> bool:
        rules.require_same_lease(expected, lease)
        leases = self._disk.tables.leases
        if leases.get(lease.name) != expected:
            return False
        leases[lease.name] = lease
        return True


class _Audit:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def record(self, event: AuditEvent) -> None:
        self._disk.tables.record(event)

    async def latest(self, limit: int, *, subject: str | None = None, gid: str | None = None) -> list[AuditEvent]:
        events = reversed(self._disk.tables.audit.values())
        found = (event for event in events if subject in (None, event.subject) and gid in (None, event.gid))
        return [event for _, event in zip(range(limit), found, strict=False)]


def _drop(rows: dict[Key, Item], is_spent: Callable[[Item], bool], limit: int) -> int:
    """Delete at most ``limit`` rows that are spent; return how many."""
    spent = [key for key, row in rows.items() if is_spent(row)][:limit]
    for key in spent:
        del rows[key]
    return len(spent)


class MemoryStore:
    """Everything that is kept, until the process ends. The verbs promise what their ports say."""

    def __init__(self) -> None:
        self._disk = Disk()
        self.clients: _Directory[Client] = _Directory(self._disk, "clients", lambda client: client.client_id)
        self.resources: _Directory[Resource] = _Directory(self._disk, "resources", lambda resource: resource.resource)
        self.roles: _Directory[Role] = _Directory(self._disk, "roles", lambda role: role.name)
        self.users = _Users(self._disk, "users", lambda user: user.subject)
        self.grants = _Grants(self._disk)
        self.sessions = _Sessions(self._disk)
        self.consents = _Consents(self._disk)
        self.keys = _Keys(self._disk)
        self.revocations = _Revocations(self._disk)
        self.leases = _Leases(self._disk)
        self.audit = _Audit(self._disk)

    def snapshot(self) -> object:
        """Return a copy of everything, for ``restore`` here or in another store."""
        return self._disk.tables.copy()

    def restore(self, snapshot: object) -> None:
        """Go back to what ``snapshot`` held, as a restored backup does.

        Raises:
            TypeError: It is not a snapshot.
        """
        if not isinstance(snapshot, Tables):
            raise TypeError("restore() takes what snapshot() returned")
        self._disk.content = snapshot.copy()

    async def sweep(self, now: int, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Delete at most ``limit`` rows of each kind that nothing needs any more; return how many of each."""
        tables = self._disk.tables
        tables.require_held(lease)

        def is_spent(grant: Grant, *, has_ended: bool) -> bool:
            return (grant.ended_at is not None) is has_ended and rules.is_grant_spent(grant, now)

        return {
            "grants_postponed": 0,
            "grants_ended": _drop(tables.grants, lambda grant: is_spent(grant, has_ended=True), limit),
            "grants_expired": _drop(tables.grants, lambda grant: is_spent(grant, has_ended=False), limit),
            "sessions_expired": _drop(tables.sessions, lambda session: rules.is_session_spent(session, now), limit),
            "revocations": _drop(tables.revocations, lambda entry: rules.is_revocation_spent(entry, now), limit),
            "keys": _drop(tables.signing_keys, lambda key: rules.is_key_removed(key, now), limit),
        }

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` if the store is closed."""
        _ = self._disk.tables

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._disk.is_closed = True
