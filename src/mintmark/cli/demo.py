"""What ``mintmark dev`` has to play with: a user, an API, three clients and a sign-in that has happened already."""

from dataclasses import dataclass, field
from typing import Final

from mintmark.authority import authorize, login, people, registration, resources
from mintmark.authority.authorize import AuthorizationRequest
from mintmark.authority.core import Authority
from mintmark.authority.login import SignedIn
from mintmark.authority.model import Client, Resource
from mintmark.authority.token import CodeRequest, token
from mintmark.jose import base64url
from mintmark.oauth import pkce
from mintmark.oauth.parameters import Parameters

EMAIL: Final = "demo@example.com"
API: Final = "https://api.example"
SCOPES: Final = ("orders:read", "orders:write")
SERVICE: Final = "demo-service"
WEB_APP: Final = "demo-app"
NATIVE_APP: Final = "demo-cli"
_NATIVE_REDIRECT: Final = "http://127.0.0.1/callback"
_PEOPLE_SCOPES: Final = ("openid", "profile", "email", "offline_access", *SCOPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What is printed: secrets of an authority that lives in memory and ends with its process."""

    password: str = field(repr=False)
    service_secret: str = field(repr=False)
    app_secret: str = field(repr=False)
    app_redirect_uri: str
    refresh_token: str = field(repr=False)


async def furnish(authority: Authority, *, app_redirect_uri: str) -> Demo:
    """Register everything, sign the demo user in and get a refresh token, all by the use cases that serve real ones."""
    password = base64url.encode(authority.randomness.bytes(12))
    await people.create_user(authority, email=EMAIL, password=password, name="Demo User")
    await resources.create_resource(authority, Resource(resource=API, name="Orders (demo)", scopes=SCOPES))
    _, service_secret = await registration.create_client(
        authority,
        Client(
            client_id=SERVICE,
            name="Demo service",
            grant_types=("client_credentials",),
            scope=SCOPES,
            resources=(API,),
            default_resource=API,
            serves=(API,),
        ),
    )
    _, app_secret = await registration.create_client(
        authority,
        Client(
            client_id=WEB_APP,
            name="Demo application",
            application_type="native",  # it runs on this machine, so its redirect URI may use http
            redirect_uris=(app_redirect_uri,),
            scope=_PEOPLE_SCOPES,
            resources=(API,),
            default_resource=API,
        ),
    )
    assert service_secret is not None
    assert app_secret is not None
    return Demo(
        password=password,
        service_secret=service_secret,
        app_secret=app_secret,
        app_redirect_uri=app_redirect_uri,
        refresh_token=await _sign_in(authority, password),
    )


async def _sign_in(authority: Authority, password: str) -> str:
    """Return the refresh token of the demo user's sign-in with a client that keeps no secret."""
    client, _ = await registration.create_client(
        authority,
        Client(
            client_id=NATIVE_APP,
            name="Demo command line",
            token_endpoint_auth_method="none",
            application_type="native",
            redirect_uris=(_NATIVE_REDIRECT,),
            scope=_PEOPLE_SCOPES,
            resources=(API,),
            default_resource=API,
        ),
    )
    signed_in = await login.sign_in(
        authority, email=EMAIL, password=password, address="127.0.0.1", user_agent="mintmark dev", cookie=None
    )
    assert isinstance(signed_in, SignedIn)
    verifier = base64url.encode(authority.randomness.bytes(32))
    request = await _request(authority, verifier)
    answer = await authorize.allow(authority, request, signed_in.session)
    response = await token(
        authority,
        client,
        CodeRequest(code=answer.parameters["code"], redirect_uri=_NATIVE_REDIRECT, code_verifier=verifier),
    )
    assert response.refresh_token is not None
    return response.refresh_token


async def _request(authority: Authority, verifier: str) -> AuthorizationRequest:
    return await authorize.read(
        authority,
        Parameters(
            {
                "response_type": "code",
                "client_id": NATIVE_APP,
                "redirect_uri": _NATIVE_REDIRECT,
                "scope": " ".join(SCOPES),
                "code_challenge": pkce.challenge_of(verifier),
                "code_challenge_method": "S256",
            }
        ),
    )
