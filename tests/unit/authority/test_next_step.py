"""What a person has to do before a code is issued (OIDC Core §3.1.2.1, §3.1.2.3, §3.1.2.6)."""

from typing import Any

import pytest
from tests.unit.authority.grants import CALLBACK, NOW, PUBLIC, client

from mintmark.authority.authorize import (
    Allowed,
    AuthorizationRequest,
    MustConsent,
    MustSignIn,
    ReturnAddress,
    Step,
    next_step,
)
from mintmark.authority.model import Consent, Session
from mintmark.authority.targeting import Target
from mintmark.oauth.errors import OAuthError

TARGET = Target(("openid", "read"), ("https://api.example",))
SIGN_IN, CONSENT, ALLOWED = MustSignIn(), MustConsent(TARGET), Allowed(TARGET)
TRUSTED = client(skip_consent=True)


def request(**members: Any) -> AuthorizationRequest:
    values: dict[str, Any] = {
        "client": client(),
        "reply_to": ReturnAddress(redirect_uri=CALLBACK, response_mode="query", state=None),
        "redirect_uri": CALLBACK,
        "scope": TARGET.scope,
        "resources": (),
        "prompts": frozenset(),
        "max_age": None,
        "nonce": None,
        "code_challenge": None,
        "claims": {},
        "subject": None,
        "login_hint": "",
    }
    return AuthorizationRequest(**{**values, **members})


def session(**members: Any) -> Session:
    values: dict[str, Any] = {
        "digest": b"d",
        "sid": "sid",
        "subject": "usr_ada",
        "auth_time": NOW - 100,
        "acr": "pwd",
        "amr": ("pwd",),
        "user_agent": "",
        "idle_expires_at": NOW + 100,
        "expires_at": NOW + 1000,
    }
    return Session(**{**values, **members})


def consent(**members: Any) -> Consent:
    values: dict[str, Any] = {"scope": TARGET.scope, "resources": TARGET.resources}
    return Consent(subject="usr_ada", client_id="web", granted_at=NOW, **{**values, **members})


def step(asked: AuthorizationRequest, by: Session | None = None, allowed: Consent | None = None) -> Step:
    return next_step(asked, by, None if by is None else TARGET, allowed, NOW)


def asking(*prompts: str, **members: Any) -> AuthorizationRequest:
    return request(prompts=frozenset(prompts), **members)


def wanting(name: str, **wish: Any) -> AuthorizationRequest:
    return request(claims={"id_token": {name: wish}})


@pytest.mark.spec("O02", "A17")
@pytest.mark.parametrize(
    ("asked", "by", "allowed", "expected"),
    [
        # Signed in or not.
        (request(), None, None, SIGN_IN),
        (request(), None, consent(), SIGN_IN),
        (request(), session(), consent(), ALLOWED),
        (asking("login"), session(), consent(), SIGN_IN),
        (asking("select_account"), session(), consent(), SIGN_IN),
        (asking("login", "consent"), session(), consent(), SIGN_IN),
        # How long ago: max_age itself is not too long.
        (request(max_age=100), session(), consent(), ALLOWED),
        (request(max_age=99), session(), consent(), SIGN_IN),
        (request(max_age=0), session(auth_time=NOW), consent(), SIGN_IN),
        (request(max_age=0), session(auth_time=NOW - 1), consent(), SIGN_IN),
        # Who.
        (request(subject="usr_ada"), session(), consent(), ALLOWED),
        (request(subject="usr_bob"), session(), consent(), SIGN_IN),
        (wanting("sub", value="usr_ada"), session(), consent(), ALLOWED),
        (wanting("sub", value="usr_bob"), session(), consent(), SIGN_IN),
        # How: the one way there is, or none asked for in earnest.
        (wanting("acr", essential=True, values=["gold", "pwd"]), session(), consent(), ALLOWED),
        (wanting("acr", values=["gold"]), session(), consent(), ALLOWED),
        (wanting("acr", essential=True), session(), consent(), ALLOWED),
        # Consent: remembered if it covers all of it, and only for a client that proves who it is.
        (request(), session(), None, CONSENT),
        (request(), session(), consent(scope=("openid",)), CONSENT),
        (request(), session(), consent(resources=()), CONSENT),
        (request(), session(), consent(scope=("openid", "read", "more")), ALLOWED),
        (request(client=PUBLIC), session(), consent(), CONSENT),
        (asking("consent"), session(), consent(), CONSENT),
        (request(client=TRUSTED), session(), None, ALLOWED),
        (asking("consent", client=TRUSTED), session(), None, CONSENT),
        # Silently, where nothing stands in the way.
        (asking("none"), session(), consent(), ALLOWED),
        (asking("none", client=TRUSTED), session(), None, ALLOWED),
    ],
)
def test_the_next_step(
    asked: AuthorizationRequest, by: Session | None, allowed: Consent | None, expected: Step
) -> None:
    assert step(asked, by, allowed) == expected


@pytest.mark.spec("O02")
@pytest.mark.parametrize(
    ("asked", "by", "allowed", "error"),
    [
        (asking("none"), None, None, "login_required"),
        (asking("none", max_age=99), session(), consent(), "login_required"),
        (asking("none", subject="usr_bob"), session(), consent(), "login_required"),
        (asking("none"), session(), None, "consent_required"),
        (asking("none", client=PUBLIC), session(), consent(), "consent_required"),
        # Signing in again would not help, so nobody is asked to.
        (wanting("acr", value="gold"), None, None, "unmet_authentication_requirements"),
        (wanting("acr", essential=True, values=["gold"]), session(), consent(), "unmet_authentication_requirements"),
    ],
)
def test_what_no_page_may_be_shown_for(
    asked: AuthorizationRequest, by: Session | None, allowed: Consent | None, error: str
) -> None:
    with pytest.raises(OAuthError) as refused:
        step(asked, by, allowed)
    assert refused.value.error == error
