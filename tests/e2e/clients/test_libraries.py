"""Client libraries that are not ours run through everything an application does, with a real person at a real browser."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
import requests
from tests.e2e.clients.authlib_client import AuthlibClient
from tests.e2e.clients.library import MAX_AGE, Client, Method, RefusedError, Registration
from tests.e2e.clients.openid_client import Driver
from tests.e2e.clients.person import Person
from tests.e2e.clients.requests_oauth2client_client import RequestsOAuth2Client
from tests.support.installation import API
from tests.support.serving import Served

pytestmark = pytest.mark.slow

SCOPE = "openid profile email orders:read"


LIBRARIES: tuple[str, ...] = ("openid-client", "authlib", "requests-oauth2client")

Configure = Callable[..., Client]


@pytest.fixture
def configure(authority: Served, request: pytest.FixtureRequest) -> Configure:
    def make(library: str, client_id: str, method: Method, algorithm: str = "RS256") -> Client:
        registration = Registration(authority.issuer, client_id, method, authority.secrets.get(client_id), algorithm)
        match library:
            case "openid-client":
                node: Driver = request.getfixturevalue("node")
                return node.client(registration)
            case "authlib":
                return AuthlibClient(registration)
            case _:
                return RequestsOAuth2Client(registration)

    return make


@pytest.mark.parametrize(
    ("library", "client_id", "method", "algorithm"),
    [
        ("openid-client", "web", "client_secret_basic", "RS256"),
        ("openid-client", "web", "client_secret_post", "RS256"),
        ("openid-client", "es256", "client_secret_basic", "ES256"),
        ("openid-client", "spa", "none", "RS256"),
        ("authlib", "web", "client_secret_basic", "RS256"),
        ("authlib", "spa", "none", "RS256"),
        ("requests-oauth2client", "web", "client_secret_post", "RS256"),
        ("requests-oauth2client", "es256", "client_secret_basic", "ES256"),
        ("requests-oauth2client", "spa", "none", "RS256"),
    ],
)
def test_an_application_signs_a_person_in_and_out(
    configure: Configure,
    authority: Served,
    person: Person,
    library: str,
    client_id: str,
    method: Method,
    algorithm: str,
) -> None:
    client = configure(library, client_id, method, algorithm)
    orders = configure(library, "service", "client_secret_basic")
    app = person.application

    # Sign in; the library verifies the response and the ID token.
    answer = person.authorize(client.authorization_url(app.callback, SCOPE))
    assert answer.parameters["iss"] == authority.issuer
    tokens = client.redeem(answer)
    assert tokens.claims["iss"] == authority.issuer
    assert set(tokens.scope.split()) == set(SCOPE.split())
    assert 0 <= tokens.claims["iat"] - tokens.claims["auth_time"] <= MAX_AGE

    # Userinfo.
    info = client.userinfo(tokens)
    assert (info["sub"], info["email"], info["name"]) == (tokens.claims["sub"], person.email, "Ada Lovelace")

    # The API verifies the access token, by introspection and without.
    claims = access_token_claims(authority, tokens.access_token, algorithm)
    assert (claims["sub"], claims["client_id"]) == (info["sub"], client_id)
    introspected = orders.introspect(tokens.access_token)
    assert introspected == {"active": True, "token_type": "Bearer", **claims}

    # Refresh: other tokens, the same person.
    newer = client.refresh(tokens.refresh_token)
    assert newer.claims["sub"] == tokens.claims["sub"]
    assert newer.claims["auth_time"] == tokens.claims["auth_time"]
    assert newer.access_token != tokens.access_token
    assert newer.refresh_token != tokens.refresh_token
    assert orders.introspect(newer.access_token)["active"]
    if method != "none":
        assert client.introspect(newer.refresh_token)["active"]
        assert client.introspect(tokens.refresh_token) == {"active": False}

    # Revoke the access token alone, then everything.
    client.revoke(newer.access_token, "access_token")
    assert orders.introspect(newer.access_token) == {"active": False}
    assert orders.introspect(tokens.access_token)["active"]
    client.revoke(newer.refresh_token, "refresh_token")
    assert orders.introspect(tokens.access_token) == {"active": False}
    with pytest.raises(RefusedError) as refused:
        client.refresh(newer.refresh_token)
    assert refused.value.error == "invalid_grant"

    # Sign out: no page in between, and the session is gone.
    still = silently(client, person)
    # A public client cannot prove who it is, so the person is always asked (RFC 6749 §10.2).
    assert "code" in still if method != "none" else still["error"] == "consent_required"
    person.go(client.logout_url(newer.id_token, app.goodbye, "st4te"))
    farewell = person.lands()
    assert urlsplit(farewell.url).path == "/bye"
    assert farewell.parameters == {"state": "st4te"}
    refusal = silently(client, person)
    assert (refusal["error"], refusal["iss"]) == ("login_required", authority.issuer)
    assert person.context.cookies() == []


def silently(client: Client, person: Person) -> dict[str, str]:
    """Ask whether somebody is signed in, without showing anything (OIDC Core §3.1.2.1)."""
    person.go(client.authorization_url(person.application.callback, "openid", prompt="none"))
    return person.lands().parameters


def access_token_claims(authority: Served, token: str, algorithm: str) -> dict[str, Any]:
    """Verify an access token as resource servers do, twice (RFC 9068 §4)."""
    jwks = requests.get(f"{authority.issuer}/.well-known/jwks.json", timeout=5).json()

    keys = {key["kid"]: jwt.PyJWK(key) for key in jwks["keys"]}
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "at+jwt"
    by_pyjwt: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]], algorithms=[algorithm], audience=API, issuer=authority.issuer
    )

    verified = joserfc.jwt.decode(token, joserfc.jwk.KeySet.import_key_set(jwks), algorithms=[algorithm])
    joserfc.jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": authority.issuer},
        aud={"essential": True, "value": API},
        sub={"essential": True},
        exp={"essential": True},
        jti={"essential": True},
    ).validate(verified.claims)
    assert verified.claims == by_pyjwt
    return by_pyjwt


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_service_gets_a_token_for_itself(configure: Configure, authority: Served, library: str) -> None:
    service = configure(library, "service", "client_secret_post")
    response = service.client_credentials("orders:read")
    assert response.get("refresh_token") is None
    claims = access_token_claims(authority, response["access_token"], "RS256")
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("service", API, "orders:read")
    assert service.introspect(response["access_token"])["active"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_answer_comes_as_a_form(configure: Configure, person: Person, library: str) -> None:
    client = configure(library, "web", "client_secret_basic")
    answer = person.authorize(client.authorization_url(person.application.callback, SCOPE, response_mode="form_post"))
    assert answer.form is not None
    assert urlsplit(answer.url).query == ""
    assert client.userinfo(client.redeem(answer))["email"] == person.email
