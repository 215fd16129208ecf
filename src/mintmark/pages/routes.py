"""The route table of the HTML edge."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from mintmark.asgi import ASGIApp, Incoming, Reply, endpoint
from mintmark.authority.core import Authority
from mintmark.oauth.errors import OAuthError
from mintmark.pages import account_changes, steps, stylesheet
from mintmark.pages.account import account, home
from mintmark.pages.authorize import authorize
from mintmark.pages.consent import consent
from mintmark.pages.error import error_page, not_found
from mintmark.pages.login import login
from mintmark.pages.logout import logout, signed_out

PageHandler = Callable[[Authority, Incoming], Awaitable[Reply]]

_GET: Final = ("GET",)
_POST: Final = ("POST",)
_FORM: Final = ("GET", "POST")
_ANY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_TABLE: Final[tuple[tuple[str, PageHandler, tuple[str, ...]], ...]] = (
    (steps.AUTHORIZE, authorize, _FORM),
    (steps.LOGIN, login, _FORM),
    (steps.CONSENT, consent, _FORM),
    (steps.LOGOUT, logout, _FORM),
    (steps.SIGNED_OUT, signed_out, _GET),
    (steps.ACCOUNT, account, _GET),
    (f"{steps.ACCOUNT}/withdraw", account_changes.withdraw, _POST),
    (f"{steps.ACCOUNT}/sessions/end", account_changes.end_other_session, _POST),
    (f"{steps.ACCOUNT}/password", account_changes.change_password, _POST),
    (f"{steps.ACCOUNT}/sign-out", account_changes.sign_out, _POST),
    ("/", home, _GET),
    (stylesheet.PATH, stylesheet.stylesheet, _GET),
)


def page_routes(authority: Authority) -> dict[str, ASGIApp]:
    """Return every page by its path."""
    return {path: _endpoint(authority, path, handler, methods) for path, handler, methods in _TABLE}


def unknown_page(authority: Authority) -> ASGIApp:
    """Return what answers for a page that is not there."""
    return _endpoint(authority, "(unknown)", not_found, _ANY)


def _endpoint(authority: Authority, path: str, handler: PageHandler, methods: tuple[str, ...]) -> ASGIApp:
    def render(error: OAuthError) -> Reply:
        return error_page(authority.policy, error)

    return endpoint(partial(handler, authority), methods, render, path=path, meter=authority.meter)
