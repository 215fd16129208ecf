"""``/authorize``: decides what the person has to do next, and shows nothing itself (RFC 6749 §4.1.1, OIDC Core §3.1.2)."""

from typing import assert_never

from mintmark.asgi import Incoming, Reply
from mintmark.authority.authorize import (
    Allowed,
    AuthorizationError,
    MustConsent,
    MustSignIn,
    advance,
    grant_code,
    read,
)
from mintmark.authority.core import Authority
from mintmark.authority.login import current_session
from mintmark.pages import steps
from mintmark.pages.answer import deliver, refuse
from mintmark.pages.browser import cookie_of, every_parameter


async def authorize(authority: Authority, incoming: Incoming) -> Reply:
    """Answer the client, or send the person to sign in or to consent.

    Raises:
        OAuthError: ``invalid_request``: the client or its redirect URI is bad, so there is no way back.
    """
    parameters = every_parameter(incoming)
    if incoming.method == "POST":
        # A cross-site POST comes without our cookie; the GET that follows brings it (ADR 0012).
        return steps.to_authorize(authority.policy, parameters)
    try:
        request = await read(authority, parameters)
        session = await current_session(authority, cookie_of(authority.policy, incoming))
        step = await advance(authority, request, session)
        match step:
            case MustSignIn():
                return steps.to_sign_in(authority.policy, parameters)
            case MustConsent():
                return steps.to_consent(authority.policy, parameters)
            case Allowed(target):
                assert session is not None
                return deliver(authority, await grant_code(authority, request, session, target))
            case _:
                assert_never(step)
    except AuthorizationError as refusal:
        return refuse(authority, refusal, incoming.path)
