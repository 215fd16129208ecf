"""``/logout``: an application asks to sign the person out (RP-Initiated Logout 1.0); and the page that says it was done."""

from mintmark.asgi import Incoming, Reply
from mintmark.authority import logout as logouts
from mintmark.authority.core import Authority
from mintmark.authority.login import current_session, end_session, form_token
from mintmark.authority.logout import LogoutRequest
from mintmark.authority.model import Session
from mintmark.oauth.parameters import Parameters
from mintmark.pages import rendering, steps, words
from mintmark.pages.browser import (
    FORM_TOKEN,
    clear_cookie,
    cookie_of,
    every_parameter,
    require_form_token,
    require_same_origin,
)


async def logout(authority: Authority, incoming: Incoming) -> Reply:
    """Sign out, or ask first whether the person wants that.

    Raises:
        OAuthError: The request is bad, or the confirmation is not ours.
    """
    sent = every_parameter(incoming)
    parameters, token = sent.without(FORM_TOKEN), sent.get(FORM_TOKEN)
    again = steps.with_query(steps.LOGOUT, parameters)
    is_confirmed = incoming.method == "POST"
    if is_confirmed and token is None:
        # The application's own POST, which comes without our cookie: the GET brings it.
        return rendering.see_other(authority.policy, again)
    if is_confirmed:
        require_same_origin(authority.policy, incoming, again)
        require_form_token(authority.policy, incoming, token, again)
    cookie = cookie_of(authority.policy, incoming)
    session = await current_session(authority, cookie)
    request = await logouts.read(authority, parameters, session)
    if is_confirmed or request.is_certain:
        return await leave(authority, session, request.return_to)
    if session is None or cookie is None:
        return _signed_out(authority, request.return_to)
    return await _confirmation(authority, request, parameters, session, form_token(cookie))


async def leave(authority: Authority, session: Session | None, return_to: str | None = None) -> Reply:
    """End the session, forget the cookie, and go on to the application or to our own page."""
    if session is not None:
        await end_session(authority, session.sid, session.subject)
    return rendering.see_other(authority.policy, return_to or steps.SIGNED_OUT, clear_cookie(authority.policy))


async def signed_out(authority: Authority, _incoming: Incoming) -> Reply:
    """Say that it is done."""
    return _signed_out(authority, None)


def _signed_out(authority: Authority, return_to: str | None) -> Reply:
    # Without a hint nothing proves who asked, so the person decides whether to follow (RP-Initiated Logout §3).
    place = None if return_to is None else words.return_place(return_to)
    return rendering.page(authority.policy, "signed_out.html", return_to=return_to, place=place)


async def _confirmation(
    authority: Authority, request: LogoutRequest, parameters: Parameters, session: Session, token: str
) -> Reply:
    user = await authority.store.users.get(session.subject)
    return rendering.page(
        authority.policy,
        "logout.html",
        leads_to_client=request.return_to is not None,
        path=steps.with_query(steps.LOGOUT, parameters),
        form_token=token,
        email="" if user is None else user.email,
        place=None if request.return_to is None else words.return_place(request.return_to),
    )
