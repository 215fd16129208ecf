"""``/consent``: the person allows or denies what an application asks for (ASVS 10.7.1-10.7.2, RFC 6749 §10.2)."""

from typing import assert_never

from mintmark.asgi import Incoming, Reply
from mintmark.authority.authorize import (
    Allowed,
    AuthorizationError,
    AuthorizationRequest,
    MustConsent,
    MustSignIn,
    advance,
    allow,
    deny,
    read,
)
from mintmark.authority.core import Authority
from mintmark.authority.login import current_session, form_token
from mintmark.authority.model import Client, Session
from mintmark.authority.targeting import Target
from mintmark.oauth.errors import invalid_request
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.scope import format_scope
from mintmark.pages import rendering, steps, words
from mintmark.pages.answer import deliver, refuse
from mintmark.pages.browser import cookie_of, own_form


async def consent(authority: Authority, incoming: Incoming) -> Reply:
    """Ask, or take the answer.

    Raises:
        OAuthError: The authorization request is bad, or the form is not ours.
    """
    parameters = incoming.parameters()
    again = steps.with_query(steps.CONSENT, parameters)
    form = own_form(authority.policy, incoming, again=again) if incoming.method == "POST" else None
    if form is not None and form.get("decision") not in {"allow", "deny"}:
        raise invalid_request("The form does not say whether to allow or to deny")
    cookie = cookie_of(authority.policy, incoming)
    try:
        request = await read(authority, parameters)
        if form is not None and form.get("decision") == "deny":
            return deliver(authority, deny(authority, request))
        session = await current_session(authority, cookie)
        step = await advance(authority, request, session)
        match step:
            case MustSignIn():
                return steps.to_sign_in(authority.policy, parameters)
            case Allowed():
                return steps.to_authorize(authority.policy, parameters)
            case MustConsent(target):
                assert session is not None
                assert cookie is not None
                if form is None:
                    return await _page(authority, request, parameters, target, session, form_token(cookie))
                if form.get("shown") != _shown(target):
                    # What may be granted has changed since the page was shown: ask anew.
                    return steps.to_consent(authority.policy, parameters)
                return deliver(authority, await allow(authority, request, session))
            case _:
                assert_never(step)
    except AuthorizationError as refusal:
        return refuse(authority, refusal, incoming.path)


def _shown(target: Target) -> str:
    """Return what the form sends back, so that nobody allows more than was on the page."""
    return format_scope((*target.scope, *target.resources))


async def _page(
    authority: Authority,
    request: AuthorizationRequest,
    parameters: Parameters,
    target: Target,
    session: Session,
    token: str,
) -> Reply:
    client, uri = request.client, request.reply_to.redirect_uri
    user = await authority.store.users.get(session.subject)
    landscape = await authority.landscape(client, ())
    resources = [landscape.resources[name] for name in target.resources if name in landscape.resources]
    return rendering.page(
        authority.policy,
        "consent.html",
        leads_to_client=True,
        path=steps.with_query(steps.CONSENT, parameters),
        other_account=steps.with_query(steps.LOGIN, steps.after_sign_in(parameters)),
        form_token=token,
        shown=_shown(target),
        client_name=client.name,
        place=words.return_place(uri),
        is_confidential=client.is_confidential,
        permissions=words.permissions(target.scope, resources, request.claims.values()),
        lifetime=_lifetime(authority, client),
        email="" if user is None else user.email,
    )


def _lifetime(authority: Authority, client: Client) -> int:
    lifetimes = client.lifetimes(authority.policy)
    if "refresh_token" in client.grant_types:
        return lifetimes.refresh_token_lifetime
    return lifetimes.access_token_lifetime
