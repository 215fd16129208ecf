"""The authorization endpoint's use cases: read the request, decide what the person must do, grant (RFC 6749 §4.1).

A request is read anew from its parameters at each step (ADR 0017), so nothing is stored before a code is issued and
whatever a page carries is never trusted more than the client's own URL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mintmark.authority.checks import CHECKS
from mintmark.authority.checks import claims as claims_check
from mintmark.authority.checks.max_age import max_age
from mintmark.authority.checks.prompt import prompts
from mintmark.authority.checks.response_type import ResponseMode, response_mode
from mintmark.authority.core import Authority
from mintmark.authority.derivation import GRANT_ID_BYTES, SALT_BYTES
from mintmark.authority.id_token_hint import subject_of_hint
from mintmark.authority.login import ACR
from mintmark.authority.model import (
    AuditEvent,
    Authorization,
    Client,
    CodeBinding,
    Consent,
    Grant,
    Session,
)
from mintmark.authority.policy import Policy
from mintmark.authority.targeting import Target, target
from mintmark.oauth import redirect_uri as redirect_uris
from mintmark.oauth.errors import OAuthError, invalid_request
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.scope import parse_scope

MAX_STATE_CHARS: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnAddress:
    """Where and how the client gets its answer."""

    redirect_uri: str
    response_mode: ResponseMode
    state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A request that passed every check. ``redirect_uri`` is ``None`` if it named none and one is registered."""

    client: Client
    reply_to: ReturnAddress
    redirect_uri: str | None
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    prompts: frozenset[str]
    max_age: int | None
    nonce: str | None
    code_challenge: str | None
    claims: dict[str, Any]
    subject: str | None
    login_hint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client: parameters for its redirect URI (``iss`` always, RFC 9207 §2)."""

    to: ReturnAddress
    parameters: Mapping[str, str]


class AuthorizationError(Exception):
    """A refusal that goes back to the client by redirect (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: OAuthError, answer: Answer) -> None:
        super().__init__(str(error))
        self.error = error
        self.answer = answer


async def read(authority: Authority, parameters: Parameters) -> AuthorizationRequest:
    """Check the parameters of an authorization request.

    Raises:
        OAuthError: The client or its redirect URI is bad: tell the person, never redirect (RFC 6749 §4.1.2.1).
        AuthorizationError: Anything else: tell the client.
    """
    client = await _client(authority, parameters)
    uri = _redirect_uri(client, parameters)
    reply_to = ReturnAddress(redirect_uri=uri, response_mode=response_mode(parameters), state=parameters.get("state"))
    try:
        if any(len(parameters.get(name) or "") > MAX_STATE_CHARS for name in ("state", "nonce", "login_hint")):
            raise invalid_request("state, nonce and login_hint may have 2048 characters")
        for check in CHECKS:
            check(parameters, client)
        hint = parameters.get("id_token_hint")
        return AuthorizationRequest(
            client=client,
            reply_to=reply_to,
            redirect_uri=parameters.get("redirect_uri"),
            scope=parse_scope(parameters.get("scope") or ""),
            resources=parameters.resources,
            prompts=prompts(parameters),
            max_age=max_age(parameters),
            nonce=parameters.get("nonce"),
            code_challenge=parameters.get("code_challenge"),
            claims=claims_check.claims(parameters),
            subject=None if hint is None else subject_of_hint(authority, hint, client),
            login_hint=parameters.get("login_hint") or "",
        )
    except OAuthError as error:
        raise refusal(authority.policy, reply_to, error) from error


async def _client(authority: Authority, parameters: Parameters) -> Client:
    client_id = parameters.get("client_id")
    if client_id is None:
        raise invalid_request("The application did not say who it is (client_id is missing)")
    client = await authority.store.clients.get(client_id)
    if client is None or client.disabled_at is not None:
        raise invalid_request("The application is not known here", detail="unknown or disabled client_id")
    return client


def _redirect_uri(client: Client, parameters: Parameters) -> str:
    presented = parameters.get("redirect_uri")
    if presented is None:
        if len(client.redirect_uris) == 1:
            return client.redirect_uris[0]
        raise invalid_request("The application did not say where to return to (redirect_uri is missing)")
    if not redirect_uris.matches(presented, client.redirect_uris, client.application_type):
        raise invalid_request(
            "The application's return address is not registered",
            detail=f"{client.client_id} sent {presented.partition('?')[0][:200]!r}, which is not among its redirect URIs",
        )
    return presented


def refusal(policy: Policy, to: ReturnAddress, error: OAuthError) -> AuthorizationError:
    """Wrap ``error`` so that it goes back to the client, with ``state`` and ``iss``."""
    parameters = {"error": error.error, "error_description": error.description}
    return AuthorizationError(error, _answer(policy, to, parameters))


def _answer(policy: Policy, to: ReturnAddress, parameters: Mapping[str, str]) -> Answer:
    state = {} if to.state is None else {"state": to.state}
    return Answer(to, {**parameters, **state, "iss": policy.issuer})


@dataclass(frozen=True, slots=True)
class MustSignIn:
    """The person has to sign in first (again, perhaps)."""


@dataclass(frozen=True, slots=True)
class MustConsent:
    """The person has to allow this first."""

    target: Target


@dataclass(frozen=True, slots=True)
class Allowed:
    """Nothing stands in the way of a code."""

    target: Target


Step = MustSignIn | MustConsent | Allowed


def next_step(
    request: AuthorizationRequest, session: Session | None, target: Target | None, consent: Consent | None, now: int
) -> Step:
    """Decide what has to happen before a code is issued. Pure.

    Args:
        request: The checked request.
        session: The browser's live session, if it has one.
        target: What would be granted to the session's person; ``None`` without a session.
        consent: What that person allowed this client earlier.
        now: The request's time.

    Raises:
        OAuthError: With ``prompt=none``, what a page would be needed for (OIDC Core §3.1.2.6); or a requirement that
            signing in cannot meet (OIDC Core §5.5.1.1).
    """
    acr_asked = claims_check.values_asked(request.claims, "acr")
    if acr_asked and ACR not in acr_asked:
        raise OAuthError("unmet_authentication_requirements", "The sign-in asked for is not offered here")
    silent = "none" in request.prompts
    if session is None or target is None or _is_sign_in_due(request, session, now):
        if silent:
            raise OAuthError("login_required", "The person has to sign in")
        return MustSignIn()
    if _is_consent_due(request, target, consent):
        if silent:
            raise OAuthError("consent_required", "The person has to give consent")
        return MustConsent(target)
    return Allowed(target)


def _is_sign_in_due(request: AuthorizationRequest, session: Session, now: int) -> bool:
    subjects = {request.subject} - {None} | set(claims_check.values_asked(request.claims, "sub"))
    return bool(
        request.prompts & {"login", "select_account"}
        # OIDC Core §3.1.2.1: max_age=0 asks for a fresh sign-in, whatever the clock's granularity.
        or request.max_age == 0
        or (request.max_age is not None and now - session.auth_time > request.max_age)
        or (subjects and session.subject not in subjects)
    )


def _is_consent_due(request: AuthorizationRequest, target: Target, consent: Consent | None) -> bool:
    if "consent" in request.prompts:
        return True
    # ASVS 10.7.1, RFC 6749 §10.2: whoever can name a public client can pretend to be it, so the person is always asked.
    if not request.client.is_confidential:
        return True
    if request.client.skip_consent:
        return False
    # What was allowed to a client of this name that has been removed since was allowed to somebody else.
    if consent is None or consent.granted_at < request.client.created_at:
        return True
    return not (
        set(target.scope) <= set(consent.scope)
        and set(target.resources) <= set(consent.resources)
        and set(claims_check.names_asked(request.claims)) <= set(consent.claims)
    )


async def target_for(authority: Authority, request: AuthorizationRequest, subject: str) -> Target:
    """Return what would be granted to ``subject``.

    Raises:
        OAuthError: ``invalid_scope``, ``invalid_target``; ``access_denied`` if the person is gone or disabled.
    """
    user = await authority.store.users.get(subject)
    if user is None or user.disabled_at is not None:
        raise OAuthError("access_denied", "The person may not sign in", detail="user gone or disabled")
    landscape = await authority.landscape(request.client, user.roles)
    return target(request.scope, request.resources, request.client, landscape)


async def advance(authority: Authority, request: AuthorizationRequest, session: Session | None) -> Step:
    """Load what ``next_step`` needs, and ask it.

    Raises:
        AuthorizationError: See ``next_step`` and ``target_for``.
    """
    try:
        if session is None:
            return next_step(request, None, None, None, authority.clock.now())
        granted = await target_for(authority, request, session.subject)
        consent = await authority.store.consents.get(session.subject, request.client.client_id)
        return next_step(request, session, granted, consent, authority.clock.now())
    except OAuthError as error:
        raise refusal(authority.policy, request.reply_to, error) from error


async def allow(authority: Authority, request: AuthorizationRequest, session: Session) -> Answer:
    """Grant, and remember that the person said yes.

    Raises:
        AuthorizationError: See ``target_for`` and ``grant_code``.
    """
    try:
        granted = await target_for(authority, request, session.subject)
    except OAuthError as error:
        raise refusal(authority.policy, request.reply_to, error) from error
    answer = await grant_code(authority, request, session, granted)
    now = authority.clock.now()
    consent = Consent(
        subject=session.subject,
        client_id=request.client.client_id,
        scope=granted.scope,
        resources=granted.resources,
        claims=claims_check.names_asked(request.claims),
        granted_at=now,
    )
    audit = AuditEvent(at=now, event="consent.given", client_id=consent.client_id, subject=consent.subject)
    await authority.store.consents.put(consent, audit)
    return answer


def deny(authority: Authority, request: AuthorizationRequest) -> Answer:
    """Return the answer for a person who said no (RFC 6749 §4.1.2.1)."""
    return refusal(authority.policy, request.reply_to, OAuthError("access_denied", "The person said no")).answer


async def grant_code(authority: Authority, request: AuthorizationRequest, session: Session, target: Target) -> Answer:
    """Create the grant and return its code, generation 0 (ADR 0001).

    Raises:
        AuthorizationError: ``access_denied`` if the session ended in the meantime.
    """
    now = authority.clock.now()
    lifetimes = request.client.lifetimes(authority.policy)
    has_refresh = "refresh_token" in request.client.grant_types
    without_refresh = authority.policy.code_lifetime + lifetimes.access_token_lifetime
    grant = Grant(
        id=authority.randomness.bytes(GRANT_ID_BYTES),
        client_id=request.client.client_id,
        subject=session.subject,
        sid=session.sid,
        salt=authority.randomness.bytes(SALT_BYTES),
        generation=0,
        authorization=Authorization(
            scope=target.scope,
            resources=target.resources,
            auth_time=session.auth_time,
            acr=session.acr,
            amr=session.amr,
            claims=request.claims,
        ),
        binding=CodeBinding(
            redirect_uri=request.redirect_uri, code_challenge=request.code_challenge, nonce=request.nonce
        ),
        created_at=now,
        advanced_at=now,
        idle_expires_at=now + authority.policy.code_lifetime,
        expires_at=now + (lifetimes.refresh_token_lifetime if has_refresh else without_refresh),
    )
    detail: dict[str, str | int] = {"scope": " ".join(target.scope), "resources": " ".join(target.resources)}
    audit = AuditEvent(
        at=now,
        event="grant.created",
        client_id=grant.client_id,
        subject=grant.subject,
        gid=grant.gid,
        detail=detail,
    )
    if not await authority.store.grants.add(grant, audit, if_session=session.sid):
        error = OAuthError("access_denied", "The sign-in has ended", detail="session ended while authorizing")
        raise refusal(authority.policy, request.reply_to, error)
    return _answer(authority.policy, request.reply_to, {"code": authority.keyring.secrets.derive("code", grant, 0)})
