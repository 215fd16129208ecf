"""The browser at the other end: its one cookie, and the proof that a form it sends is ours.

The cookie exists before anybody signs in: the form token is derived from it, so no other site can make the browser send
a form of ours, the sign-in form included. Signing in replaces it (ASVS 7.2.4).
"""

import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from mintmark.asgi import Headers, Incoming
from mintmark.authority import login
from mintmark.authority.core import Authority
from mintmark.authority.policy import Policy
from mintmark.oauth.errors import OAuthError
from mintmark.oauth.parameters import Parameters, parse
from mintmark.pages import rendering

FORM_TOKEN: Final = "form_token"

_COOKIE_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that is shown a form."""

    cookie: str = field(repr=False)
    is_new: bool

    @property
    def form_token(self) -> str:
        """The hidden field of every form."""
        return login.form_token(self.cookie)


class StaleFormError(OAuthError):
    """A form that this browser did not get from us, or not with its present cookie.

    Attributes:
        again: Path of ours where a fresh one is.
    """

    def __init__(self, detail: str, again: str) -> None:
        text = "This form was opened too long ago, or before you signed in or out, or your browser refuses our cookie"
        super().__init__("invalid_request", text, detail=detail, status=403)
        self.again = again


def browser_of(authority: Authority, incoming: Incoming) -> Browser:
    """Return the browser, with a new cookie if it has none yet (nothing is stored)."""
    cookie = cookie_of(authority.policy, incoming)
    return Browser(login.new_cookie(authority), is_new=True) if cookie is None else Browser(cookie, is_new=False)


def cookie_of(policy: Policy, incoming: Incoming) -> str | None:
    """Return the value of our cookie."""
    name = _cookie_name(policy)
    for header in incoming.header(b"cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name and _COOKIE_VALUE.fullmatch(value.strip()):
                return value.strip()
    return None


def set_cookie(policy: Policy, value: str) -> Headers:
    """Return the header that stores our cookie until the browser closes."""
    return _cookie_header(policy, value, "")


def clear_cookie(policy: Policy) -> Headers:
    """Return the header that removes our cookie."""
    return _cookie_header(policy, "", "; Max-Age=0")


def _cookie_name(policy: Policy) -> str:
    return "__Host-mintmark" if rendering.is_https(policy) else "mintmark"


def _cookie_header(policy: Policy, value: str, more: str) -> Headers:
    secure = "; Secure" if rendering.is_https(policy) else ""
    return ((b"set-cookie", f"{_cookie_name(policy)}={value}; Path=/{secure}; HttpOnly; SameSite=Lax{more}".encode()),)


def every_parameter(incoming: Incoming) -> Parameters:
    """Return the parameters of the query and, of a POST, of the body, counted as one (RFC 6749 §3.1).

    Raises:
        OAuthError: ``invalid_request``.
    """
    if incoming.method != "POST" or not incoming.body:
        return incoming.parameters()
    incoming.form()
    return parse(incoming.query, also=(incoming.body,))


def own_form(policy: Policy, incoming: Incoming, *, again: str) -> Parameters:
    """Return the fields of a form that we gave this browser.

    Raises:
        StaleFormError: It is not ours; ``again`` is where to get it anew.
        OAuthError: ``invalid_request``.
    """
    require_same_origin(policy, incoming, again)
    form = incoming.form()
    require_form_token(policy, incoming, form.get(FORM_TOKEN), again)
    return form.without(FORM_TOKEN)


def require_same_origin(policy: Policy, incoming: Incoming, again: str) -> None:
    """Refuse what a browser says it sends from elsewhere.

    Raises:
        StaleFormError: It does.
    """
    if any(site not in {"same-origin", "none"} for site in incoming.header(b"sec-fetch-site")):
        raise StaleFormError("Sec-Fetch-Site is of another site", again)
    if any(origin != rendering.origin(policy) for origin in incoming.header(b"origin")):
        raise StaleFormError("Origin is not the issuer's", again)


def require_form_token(policy: Policy, incoming: Incoming, token: str | None, again: str) -> None:
    """Refuse a form without the token of this browser's cookie.

    Raises:
        StaleFormError: It is missing or wrong.
    """
    cookie = cookie_of(policy, incoming)
    if cookie is None or token is None:
        raise StaleFormError("cookie or form token is missing", again)
    if not hmac.compare_digest(token.encode(), login.form_token(cookie).encode()):
        raise StaleFormError("form token is not of this cookie", again)
