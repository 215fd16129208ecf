"""Signing people in and out: browser sessions (OWASP ASVS 6.3, 7.2-7.4)."""

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Session, User
from mintmark.authority.ports import GrantSelector, StoreUnavailableError
from mintmark.authority.throttling import SignInAttempt
from mintmark.jose import base64url
from mintmark.oauth.errors import OAuthError

ACR: Final = "pwd"
AMR: Final = ("pwd",)
"""RFC 8176: password-based authentication."""

COOKIE_BYTES: Final = 32
MAX_PASSWORD_CHARS: Final = 1024
_SID_BYTES: Final = 16
_TOUCH_EVERY: Final = 60
_MAX_USER_AGENT: Final = 200


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session and the cookie value that proves it: random, known to the browser only."""

    session: Session
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """Wrong email or password, never said which; or too many attempts: ``retry_after`` seconds, and nothing was tried."""

    retry_after: int = 0


def new_cookie(authority: Authority) -> str:
    """Return a fresh cookie value (256 bits)."""
    return base64url.encode(authority.randomness.bytes(COOKIE_BYTES))


def digest_of(cookie: str) -> bytes:
    """Return what is stored of a cookie value."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def form_token(cookie: str) -> str:
    """Return the synchronizer token of forms shown to this browser: another site can neither read nor make it."""
    return base64url.encode(hmac.digest(cookie.encode("utf-8", "replace"), b"mintmark form", hashlib.sha256))


async def sign_in(
    authority: Authority, *, email: str, password: str, address: str, user_agent: str, cookie: str | None
) -> SignedIn | NotSignedIn:
    """Check a password and open a session with a new id; the old one of this browser dies (ASVS 7.2.4).

    Unknown, disabled and wrong look the same and take as long (ASVS 6.3.8). Each attempt is charged before it is made
    and given back if it succeeds, by address and account together and more loosely by address, so that many at once
    are slowed down as well, and a stranger's guesses do not lock the account's owner out.

    Raises:
        OAuthError: ``temporarily_unavailable`` if too many passwords are waiting to be checked.
    """
    attempt = SignInAttempt(authority.limiter, account=email.casefold()[:320], address=address)
    if wait := await attempt.charge():
        return NotSignedIn(wait)
    try:
        user = await authority.store.users.by_email(email)
        is_alive = user is not None and user.disabled_at is None
        fits = await authority.passwords.verify(
            user.password_hash if user is not None and is_alive else None,
            password[: MAX_PASSWORD_CHARS + 1],
            source=attempt.network,
        )
    except (OAuthError, StoreUnavailableError):
        # A fault of ours must not lock out whoever tries again.
        await attempt.refund()
        raise
    if user is not None and is_alive and fits and len(password) <= MAX_PASSWORD_CHARS:
        user = await _rehash(authority, user, password)
        signed_in = await open_session(authority, user, cookie, user_agent)
        if signed_in is not None:
            await attempt.refund()
            return signed_in
    subject = None if user is None else user.subject
    audit = AuditEvent(at=authority.clock.now(), event="sign_in.failed", subject=subject)
    await authority.store.audit.record(audit)
    return NotSignedIn()


async def _rehash(authority: Authority, user: User, password: str) -> User:
    if not authority.passwords.is_outdated(user.password_hash):
        return user
    stronger = replace(user, password_hash=await authority.passwords.hash(password))
    return stronger if await authority.store.users.replace(user, stronger) else user


async def open_session(authority: Authority, user: User, old_cookie: str | None, user_agent: str) -> SignedIn | None:
    """Open a session for somebody who has just proved to be ``user``; the old one of this browser dies.

    ``None`` if the password was changed or the account disabled in the meantime.
    """
    now = authority.clock.now()
    cookie = new_cookie(authority)
    old = None if old_cookie is None else await authority.store.sessions.get(digest_of(old_cookie))
    # A re-authentication of the same person keeps the sid, so that logout by sid still reaches the older grants.
    is_same = old is not None and old.subject == user.subject and old.is_alive(now)
    session = Session(
        digest=digest_of(cookie),
        sid=old.sid if old is not None and is_same else base64url.encode(authority.randomness.bytes(_SID_BYTES)),
        subject=user.subject,
        auth_time=now,
        acr=ACR,
        amr=AMR,
        user_agent=user_agent[:_MAX_USER_AGENT],
        idle_expires_at=now + authority.policy.session_idle_lifetime,
        expires_at=now + authority.policy.session_lifetime,
    )
    audit = AuditEvent(at=now, event="sign_in", subject=user.subject, detail={"sid": session.sid})
    replaces = None if old is None else old.digest
    is_stored = await authority.store.sessions.add(session, replaces=replaces, if_user=user, audit=audit)
    return SignedIn(session, cookie) if is_stored else None


async def current_session(authority: Authority, cookie: str | None) -> Session | None:
    """Return the live session that ``cookie`` proves, and keep it from idling out."""
    if not cookie:
        return None
    now = authority.clock.now()
    session = await authority.store.sessions.get(digest_of(cookie))
    if session is None or not session.is_alive(now):
        return None
    idle_expires_at = min(now + authority.policy.session_idle_lifetime, session.expires_at)
    if idle_expires_at >= session.idle_expires_at + _TOUCH_EVERY:
        await authority.store.sessions.touch(session.digest, idle_expires_at)
    return session


async def end_session(authority: Authority, sid: str, subject: str) -> None:
    """Sign a browser out: its session, and the grants made in it, end; ``offline_access`` grants go on.

    OIDC Back-Channel Logout §2.7 draws the same line. A person withdraws the others at the account page.
    """
    now = authority.clock.now()
    audit = AuditEvent(at=now, event="sign_out", subject=subject, detail={"sid": sid})
    await authority.store.sessions.end(sid=sid, audit=audit)
    await authority.store.grants.end(
        GrantSelector(sid=sid, subject=subject),  # found by the subject; no index names the session
        reason="sign_out",
        at=now,
        revoke_until=now + authority.policy.longest_access_token_lifetime,
        keep_scope="offline_access",
        audit=AuditEvent(at=now, event="grants.ended", subject=subject, detail={"reason": "sign_out", "sid": sid}),
    )
    await authority.denylist.pull(authority.store)
