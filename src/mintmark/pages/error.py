"""The page that says what went wrong, in constant words, and what to do next."""

from typing import Final

from mintmark.asgi import Incoming, Reply
from mintmark.authority.core import Authority
from mintmark.authority.policy import Policy
from mintmark.oauth.errors import OAuthError
from mintmark.pages import rendering
from mintmark.pages.browser import StaleFormError

_START_AGAIN: Final = "Go back to the application you came from and start again there. If this happens again, tell its operators what this page says."
_LATER: Final = "Wait a moment, then reload this page. Nothing was changed."
_TITLES: Final = {
    403: "This form is out of date",
    404: "There is no such page",
    405: "This page cannot be used that way",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "We cannot answer just now",
}
_NEXT: Final = {
    403: "Reload the form and try again. Cookies have to be allowed for this site.",
    404: "Check the address, or go to your account.",
    405: "Go back, or go to your account.",
    429: _LATER,
    500: "Try again in a moment. If it happens again, tell the operators of this service when it happened.",
    503: _LATER,
}


def error_page(policy: Policy, error: OAuthError) -> Reply:
    """Return the page for ``error``: its public text only."""
    retry_after = error.retry_after
    return rendering.page(
        policy,
        "error.html",
        status=error.status,
        headers=() if retry_after is None else ((b"retry-after", b"%d" % retry_after),),
        title=_TITLES.get(error.status, "This request cannot go on"),
        description=error.description,
        code=error.error,
        advice=_NEXT.get(error.status, _START_AGAIN),
        again=error.again if isinstance(error, StaleFormError) else None,
        is_lost=error.status in {404, 405},
    )


async def not_found(_authority: Authority, _incoming: Incoming) -> Reply:
    """Say that there is no such page."""
    raise OAuthError("invalid_request", "The address leads nowhere", status=404)
