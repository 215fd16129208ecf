"""What every adapter means by the same words. Pure."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from mintmark.authority.model import AuditEvent, Grant, Session, SigningKey, User
from mintmark.authority.ports import Advance, GrantSelector, Lease, SupersededError
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation


def email_key(email: str) -> str:
    """Return the form in which emails are compared."""
    return email.casefold()


def is_selected(grant: Grant, selector: GrantSelector) -> bool:
    """Tell whether ``grant`` matches every member of ``selector`` that is set."""
    return (
        selector.id in (None, grant.id)
        and selector.subject in (None, grant.subject)
        and selector.client_id in (None, grant.client_id)
        and selector.sid in (None, grant.sid)
    )


def require_selective(**members: Hashable) -> None:
    """Refuse to select everything by setting nothing.

    Raises:
        ValueError: No member is set.
    """
    if all(member is None for member in members.values()):
        raise ValueError(f"at least one must be set: {', '.join(members)}")


def require_selector(selector: GrantSelector) -> None:
    """Refuse a selector of nothing.

    Raises:
        ValueError: No member is set.
    """
    require_selective(id=selector.id, subject=selector.subject, client_id=selector.client_id, sid=selector.sid)


def require_forward(step: Advance) -> None:
    """Refuse a step back: an older generation would become current again (invariant I1).

    Raises:
        ValueError: The step leads to a lower generation.
    """
    if step.generation < step.expected:
        raise ValueError(f"a grant never steps back, from {step.expected} to {step.generation}")


def require_same_key(old: str, new: str) -> None:
    """Refuse to rename: others refer to the name.

    Raises:
        ValueError: The names differ.
    """
    if old != new:
        raise ValueError(f"replace() keeps the name: {old!r} is not {new!r}")


def is_live(grant: Grant, now: int) -> bool:
    """Tell whether ``grant`` has neither ended nor expired."""
    return grant.ended_at is None and now < grant.idle_expires_at and now < grant.expires_at


def is_grant_spent(grant: Grant, now: int) -> bool:
    """Tell whether nothing needs ``grant`` any more: it can issue nothing and its last access token is dead."""
    return not is_live(grant, now) and grant.access_expires_at <= now


def is_session_spent(session: Session, now: int) -> bool:
    """Tell whether ``session`` signs nobody in any more."""
    return not session.is_alive(now)


def is_key_removed(key: SigningKey, now: int) -> bool:
    """Tell whether ``key`` has left the JWKS for good."""
    return key.removed_at is not None and key.removed_at <= now


def is_revocation_spent(entry: Revocation, now: int) -> bool:
    """Tell whether nobody can need ``entry`` any more."""
    return entry.expires_at + KEPT_BEYOND_EXPIRY <= now


def revocation_of(gid: str, access_expires_at: int) -> Revocation:
    """Return the entry that kills the access tokens of one grant; it may be forgotten when the last one is dead."""
    return Revocation(kind="gid", value=gid, expires_at=access_expires_at)


def is_same_proof(stored: User | None, proved: User) -> bool:
    """Tell whether who proved to be ``proved`` by its password still does."""
    return stored is not None and stored.disabled_at is None and stored.password_hash == proved.password_hash


def counted(event: AuditEvent, count: int) -> AuditEvent:
    """Return ``event`` with ``count`` in its detail."""
    return replace(event, detail={**event.detail, "count": count})


def are_same_keys(stored: Mapping[str, SigningKey], expected: Sequence[SigningKey]) -> bool:
    """Tell whether ``stored`` (by kid) is all of ``expected`` and nothing else, in whatever order."""
    return stored == {key.kid: key for key in expected}


def require_same_lease(expected: Lease | None, lease: Lease) -> None:
    """Refuse to put a lease in the place of another work's.

    Raises:
        ValueError: The names differ.
    """
    if expected is not None and expected.name != lease.name:
        raise ValueError(f"put() keeps the name: {expected.name!r} is not {lease.name!r}")


def superseded(lease: Lease) -> SupersededError:
    """Return the error for a write under ``lease``, which somebody else holds by now."""
    return SupersededError(f"{lease.name!r} is no longer held by {lease.holder} under fence {lease.fence}")
