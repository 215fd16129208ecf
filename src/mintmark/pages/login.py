"""``/login``: email and password. Its query is the authorization request to go on with, or empty."""

from dataclasses import dataclass, field
from typing import Final

from mintmark.asgi import Headers, Incoming, Reply, log
from mintmark.authority.authorize import AuthorizationError, AuthorizationRequest, read
from mintmark.authority.checks.claims import values_asked
from mintmark.authority.core import Authority
from mintmark.authority.login import NotSignedIn, current_session, sign_in
from mintmark.oauth.parameters import Parameters
from mintmark.pages import rendering, steps, words
from mintmark.pages.browser import Browser, browser_of, cookie_of, own_form, set_cookie

_WRONG: Final = "The email or the password is not right. Check both and try again."
_OTHER_ACCOUNT: Final = "You are signed in already, but the application asks for another account."

# Browsers and password managers take any 4xx after a sign-in form for "it failed" and do not offer to save what was
# typed. 401 would have to name an HTTP authentication scheme (RFC 9110 §15.5.2), and there is none for forms.
_REFUSED: Final = 400


@dataclass(frozen=True, slots=True)
class _Visit:
    """Why the person is here: an application sent them, or nobody did."""

    parameters: Parameters = field(default_factory=lambda: Parameters({}))
    request: AuthorizationRequest | None = None

    @property
    def path(self) -> str:
        """Where the form is, and where it goes."""
        return steps.with_query(steps.LOGIN, self.parameters)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A sign-in that failed."""

    message: str
    status: int
    headers: Headers = ()


async def login(authority: Authority, incoming: Incoming) -> Reply:
    """Show the form, or sign in and go on; it is always shown, also to who is signed in (``prompt``, "not you?").

    Raises:
        OAuthError: The authorization request in the query is bad, or the form is not ours.
    """
    visit = await _visit(authority, incoming.parameters())
    if incoming.method != "POST":
        email = "" if visit.request is None else visit.request.login_hint
        caution = await _caution(authority, incoming, visit.request)
        return _page(authority, browser_of(authority, incoming), visit, email=email, caution=caution)
    form = own_form(authority.policy, incoming, again=visit.path)
    email = form.get("email") or ""
    outcome = await sign_in(
        authority,
        email=email,
        password=form.get("password") or "",
        address=incoming.address,
        user_agent=next(iter(incoming.header(b"user-agent")), ""),
        cookie=cookie_of(authority.policy, incoming),
    )
    if isinstance(outcome, NotSignedIn):
        # Not the email: people type their password there now and then.
        log.info("sign-in failed", why="too many attempts" if outcome.retry_after else "wrong email or password")
        return _page(authority, browser_of(authority, incoming), visit, email=email, refusal=_refusal(outcome))
    after = steps.after_sign_in(visit.parameters)
    path = steps.ACCOUNT if visit.request is None else steps.with_query(steps.AUTHORIZE, after)
    return rendering.see_other(authority.policy, path, set_cookie(authority.policy, outcome.cookie))


async def _visit(authority: Authority, parameters: Parameters) -> _Visit:
    if parameters.get("client_id") is None:
        return _Visit()
    try:
        return _Visit(parameters, await read(authority, parameters))
    except AuthorizationError as refusal:
        # `/authorize` answered the client already; here a person edited the URL.
        raise refusal.error from refusal


async def _caution(authority: Authority, incoming: Incoming, request: AuthorizationRequest | None) -> str:
    """Say why the form is shown to somebody who has just signed in: only another account will do."""
    session = await current_session(authority, cookie_of(authority.policy, incoming))
    if session is None or request is None:
        return ""
    expected = [*([] if request.subject is None else [request.subject]), *values_asked(request.claims, "sub")]
    return _OTHER_ACCOUNT if expected and session.subject not in expected else ""


def _refusal(outcome: NotSignedIn) -> _Refusal:
    if not outcome.retry_after:
        return _Refusal(_WRONG, _REFUSED)
    message = f"Too many attempts. Try again in {words.duration(outcome.retry_after)}."
    return _Refusal(message, 429, ((b"retry-after", b"%d" % outcome.retry_after),))


def _page(
    authority: Authority,
    browser: Browser,
    visit: _Visit,
    *,
    email: str,
    caution: str = "",
    refusal: _Refusal | None = None,
) -> Reply:
    cookie = set_cookie(authority.policy, browser.cookie) if browser.is_new else ()
    request = visit.request
    return rendering.page(
        authority.policy,
        "login.html",
        status=200 if refusal is None else refusal.status,
        headers=(*cookie, *(() if refusal is None else refusal.headers)),
        leads_to_client=request is not None,
        path=visit.path,
        form_token=browser.form_token,
        client_name=None if request is None else request.client.name,
        place=None if request is None else words.return_place(request.reply_to.redirect_uri),
        email=email,
        caution=caution,
        problem=None if refusal is None else refusal.message,
    )
