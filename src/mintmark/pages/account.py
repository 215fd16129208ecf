"""``/account``: what a person sees of their own account: applications, browsers, password (ASVS 7.5.2, 10.7.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mintmark.asgi import Incoming, Reply
from mintmark.authority.core import Authority
from mintmark.authority.login import current_session, form_token
from mintmark.authority.model import Consent, Grant, Session, User
from mintmark.authority.people import MIN_PASSWORD_CHARS
from mintmark.authority.ports import GrantSelector
from mintmark.pages import rendering, steps, words
from mintmark.pages.browser import cookie_of

_DONE: Final[Mapping[str, str]] = {
    "withdrawn": "The application has no access any more.",
    "ended": "The other browser is signed out.",
    "password": "Your password is changed. Other browsers and all applications are signed out.",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, and with what."""

    user: User
    session: Session
    cookie: str


@dataclass(frozen=True, slots=True)
class _Application:
    """An application with access. ``expires_at`` is ``None`` if it is remembered only, and signed in nowhere."""

    client_id: str
    name: str
    permissions: Sequence[words.Permission]
    since: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class _SignedIn:
    """A browser that is signed in."""

    sid: str
    name: str
    since: int
    is_this: bool


async def account(authority: Authority, incoming: Incoming) -> Reply:
    """Show the account, or send the person to sign in."""
    visitor = await visitor_of(authority, incoming)
    if visitor is None:
        return rendering.see_other(authority.policy, steps.LOGIN)
    return await account_page(authority, visitor, notice=_DONE.get(incoming.parameters().get("done") or "", ""))


async def home(authority: Authority, _incoming: Incoming) -> Reply:
    """Send the person to their account."""
    return rendering.see_other(authority.policy, steps.ACCOUNT)


async def visitor_of(authority: Authority, incoming: Incoming) -> Visitor | None:
    """Return who is signed in in this browser."""
    cookie = cookie_of(authority.policy, incoming)
    session = await current_session(authority, cookie)
    user = None if session is None else await authority.store.users.get(session.subject)
    if cookie is None or session is None or user is None or user.disabled_at is not None:
        return None
    return Visitor(user, session, cookie)


async def account_page(
    authority: Authority, visitor: Visitor, *, notice: str = "", problem: str = "", status: int = 200
) -> Reply:
    """Return the page.

    Args:
        authority: The authority.
        visitor: Whose account it is.
        notice: What was just done.
        problem: Why the password could not be changed.
        status: HTTP status.
    """
    return rendering.page(
        authority.policy,
        "account.html",
        status=status,
        form_token=form_token(visitor.cookie),
        user=visitor.user,
        applications=await _applications(authority, visitor.user),
        browsers=await _browsers(authority, visitor.session),
        min_password_chars=MIN_PASSWORD_CHARS,
        notice=notice,
        problem=problem,
    )


async def _applications(authority: Authority, user: User) -> list[_Application]:
    grants = await authority.store.grants.live(GrantSelector(subject=user.subject), authority.clock.now())
    consents = {consent.client_id: consent for consent in await authority.store.consents.of(user.subject)}
    names = {*consents, *(grant.client_id for grant in grants)}
    found = [
        await _application(authority, name, consents.get(name), [grant for grant in grants if grant.client_id == name])
        for name in names
    ]
    return sorted(found, key=lambda application: (application.name.casefold(), application.client_id))


async def _application(
    authority: Authority, client_id: str, consent: Consent | None, grants: Sequence[Grant]
) -> _Application:
    client = await authority.store.clients.get(client_id)
    resources = [] if client is None else list((await authority.landscape(client, ())).resources.values())
    remembered = () if consent is None else consent.scope
    scope = sorted({*remembered, *(name for grant in grants for name in grant.authorization.scope)})
    members = [member for grant in grants for member in grant.authorization.claims.values()]
    return _Application(
        client_id=client_id,
        name=client_id if client is None else client.name,
        permissions=words.permissions(scope, resources, members),
        since=min([*([] if consent is None else [consent.granted_at]), *(grant.created_at for grant in grants)]),
        expires_at=max((grant.expires_at for grant in grants), default=None),
    )


async def _browsers(authority: Authority, current: Session) -> list[_SignedIn]:
    now = authority.clock.now()
    sessions = [session for session in await authority.store.sessions.of(current.subject) if session.is_alive(now)]
    found = [
        _SignedIn(session.sid, words.browser(session.user_agent), session.auth_time, session.sid == current.sid)
        for session in sessions
    ]
    return sorted(found, key=lambda browser: not browser.is_this)
