"""People's accounts: created, changed, disabled, removed. Whatever ends trust in an account ends its grants (ASVS 7.4)."""

import re
from dataclasses import replace
from typing import Final

from mintmark.authority.core import Authority
from mintmark.authority.login import MAX_PASSWORD_CHARS
from mintmark.authority.model import SUBJECT_PREFIX, AuditEvent, User
from mintmark.authority.ports import GrantSelector
from mintmark.authority.revocation import end_grants
from mintmark.jose import base64url

MIN_PASSWORD_CHARS: Final = 8
_SUBJECT_BYTES: Final = 16
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,255}")


class UnacceptableError(ValueError):
    """What an operator or a person asked for cannot be done; the text says why and what to do."""


async def create_user(
    authority: Authority, *, email: str, password: str, name: str = "", roles: tuple[str, ...] = ()
) -> User:
    """Create an account.

    Raises:
        UnacceptableError: The email or the password is not acceptable, or a role is unknown.
        AlreadyExistsError: The email is taken.
    """
    if not _EMAIL.fullmatch(email):
        raise UnacceptableError(f"{email!r} is not an email address")
    await require_roles(authority, roles)
    await require_good_password(authority, password, email=email, name=name)
    now = authority.clock.now()
    user = User(
        subject=SUBJECT_PREFIX + base64url.encode(authority.randomness.bytes(_SUBJECT_BYTES)),
        email=email,
        name=name,
        password_hash=await authority.passwords.hash(password),
        roles=roles,
        created_at=now,
        updated_at=now,
    )
    await authority.store.users.add(user)
    await authority.store.audit.record(AuditEvent(at=now, event="user.created", subject=user.subject))
    return user


async def require_good_password(authority: Authority, password: str, *, email: str, name: str) -> None:
    """Refuse a password that is too short, too long or easily guessed; no rules about its characters (ASVS 6.2).

    Raises:
        UnacceptableError: With what to do instead.
    """
    if len(password) < MIN_PASSWORD_CHARS:
        raise UnacceptableError(f"Use at least {MIN_PASSWORD_CHARS} characters")
    if len(password) > MAX_PASSWORD_CHARS:
        raise UnacceptableError(f"Use at most {MAX_PASSWORD_CHARS} characters")
    weakness = await authority.passwords.weakness(password, (email, *email.split("@"), *name.split()))
    if weakness is not None:
        raise UnacceptableError(weakness)


async def require_roles(authority: Authority, roles: tuple[str, ...]) -> None:
    """Refuse roles that do not exist.

    Raises:
        UnacceptableError: Names the first one.
    """
    for role in roles:
        if await authority.store.roles.get(role) is None:
            raise UnacceptableError(f"there is no role {role!r}; `mintmark role list` shows them")


async def change_password(
    authority: Authority, user: User, *, current: str, new: str, except_sid: str | None = None
) -> User:
    """Change one's own password: needs the current one (ASVS 6.2.3); other sessions and all grants end (ASVS 7.4.3).

    Raises:
        UnacceptableError: The current password is wrong or the new one is not acceptable.
    """
    if wait := await authority.limiter.take("password", user.subject, burst=5, period=30):
        raise UnacceptableError(f"Too many attempts; try again in {wait} seconds")
    if not await authority.passwords.verify(user.password_hash, current):
        raise UnacceptableError("The current password is not right")
    return await set_password(authority, user, new, except_sid=except_sid)


async def set_password(authority: Authority, user: User, new: str, *, except_sid: str | None = None) -> User:
    """Set a password as an operator; sessions (but ``except_sid``) and grants of the account end.

    Raises:
        UnacceptableError: It is not acceptable, or the account was changed at the same moment.
    """
    await require_good_password(authority, new, email=user.email, name=user.name)
    password_hash = await authority.passwords.hash(new)
    # Before and after: if this process dies in between, nothing is left that the old password opened.
    await _end_trust(authority, user.subject, except_sid)
    now = authority.clock.now()
    changed = replace(user, password_hash=password_hash, updated_at=now)
    if not await authority.store.users.replace(user, changed):
        raise UnacceptableError("The account was changed at the same moment; try again")
    await authority.store.audit.record(AuditEvent(at=now, event="user.password_changed", subject=user.subject))
    await _end_trust(authority, user.subject, except_sid)
    return changed


async def _end_trust(authority: Authority, subject: str, except_sid: str | None) -> None:
    now = authority.clock.now()
    for session in await authority.store.sessions.of(subject):
        if session.sid != except_sid:
            await authority.store.sessions.end(sid=session.sid, audit=_signed_out(now, subject, session.sid))
    await end_grants(authority, GrantSelector(subject=subject), reason="password_changed")


async def set_disabled(authority: Authority, user: User, *, is_disabled: bool) -> User:
    """Disable an account (sessions and grants end at once) or enable it again.

    Raises:
        UnacceptableError: The account was changed at the same moment.
    """
    now = authority.clock.now()
    changed = replace(user, disabled_at=now if is_disabled else None, updated_at=now)
    if not await authority.store.users.replace(user, changed):
        raise UnacceptableError("The account was changed at the same moment; try again")
    event = "user.disabled" if is_disabled else "user.enabled"
    await authority.store.audit.record(AuditEvent(at=now, event=event, subject=user.subject))
    if is_disabled:
        await sign_out_everywhere(authority, user.subject, reason="user_disabled")
    return changed


async def set_roles(authority: Authority, user: User, roles: tuple[str, ...]) -> User:
    """Change the roles an account holds; access tokens issued from now on say so.

    Raises:
        UnacceptableError: A role does not exist, or the account was changed at the same moment.
    """
    await require_roles(authority, roles)
    now = authority.clock.now()
    changed = replace(user, roles=roles, updated_at=now)
    if not await authority.store.users.replace(user, changed):
        raise UnacceptableError("The account was changed at the same moment; try again")
    detail: dict[str, str | int] = {"before": " ".join(user.roles), "after": " ".join(roles)}
    audit = AuditEvent(at=now, event="user.roles_changed", subject=user.subject, detail=detail)
    await authority.store.audit.record(audit)
    return changed


async def remove_user(authority: Authority, user: User) -> None:
    """Remove an account; its subject is never used again.

    It is disabled first: if this process dies in between, nothing of it is usable and the removal can be repeated.

    Raises:
        UnacceptableError: The account was changed at the same moment.
    """
    await set_disabled(authority, user, is_disabled=True)
    await authority.store.users.remove(user.subject)
    await authority.store.audit.record(AuditEvent(at=authority.clock.now(), event="user.removed", subject=user.subject))


async def sign_out_everywhere(authority: Authority, subject: str, *, reason: str) -> int:
    """End all sessions and all grants of a person; return how many grants ended."""
    now = authority.clock.now()
    await authority.store.sessions.end(subject=subject, audit=_signed_out(now, subject, "all"))
    return await end_grants(authority, GrantSelector(subject=subject), reason=reason)


async def withdraw_consent(authority: Authority, subject: str, client_id: str) -> int:
    """Take back what a person allowed a client; its grants end (ASVS 10.7.3). Returns how many ended."""
    audit = AuditEvent(at=authority.clock.now(), event="consent.withdrawn", client_id=client_id, subject=subject)
    await authority.store.consents.remove(subject, client_id, audit)
    return await end_grants(authority, GrantSelector(subject=subject, client_id=client_id), reason="consent_withdrawn")


def _signed_out(now: int, subject: str, sid: str) -> AuditEvent:
    return AuditEvent(at=now, event="sign_out", subject=subject, detail={"sid": sid})
