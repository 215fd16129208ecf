"""A whole authority in this process, spoken to over ASGI as clients and browsers speak to it."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from tests.support.world import FixedClock, SeededRandomness

from mintmark import bootstrap
from mintmark.authority import authorize, login
from mintmark.authority.core import Authority
from mintmark.authority.model import Client, Resource, Role, Session, User
from mintmark.authority.people import create_user
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Store
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource, create_role
from mintmark.authority.wrapping import MasterKeys
from mintmark.oauth.parameters import parse
from mintmark.oauth.pkce import challenge_of
from mintmark.storage.memory import MemoryStore

ISSUER = "https://id.example"
API = "https://api.example"
REPORTS = "https://reports.example"
PASSWORD = "correct horse battery staple"
VERIFIER = "v" * 43
CALLBACK = "https://app.example/callback"
PREFIX = "/api/v2/auth"


@dataclass
class Installation:
    """The authority, its clock, and the demo inhabitants that most tests need.

    Clients: ``web`` (confidential, code + refresh), ``spa`` (public), ``service`` (client_credentials, may introspect
    for the API). Resources: API (orders:read, orders:write, orders:admin which is a permission) and REPORTS.
    """

    authority: Authority
    clock: FixedClock
    secrets: dict[str, str] = field(default_factory=dict)
    user: User | None = None

    def http(self, address: str = "192.0.2.1") -> httpx.AsyncClient:
        """Return a fresh HTTP client: no cookies, no redirects followed."""
        transport = httpx.ASGITransport(app=bootstrap.application(self.authority), client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=self.authority.policy.issuer, follow_redirects=False)

    def credentials(self, client_id: str) -> dict[str, str]:
        """Return form members that authenticate a client."""
        secret = self.secrets.get(client_id)
        return {"client_id": client_id} | ({} if secret is None else {"client_secret": secret})

    async def post(self, path: str, client_id: str | None = None, **form: Any) -> httpx.Response:
        """Post a form to a protocol endpoint, as ``client_id`` if given. ``None`` members are left out."""
        data = ({} if client_id is None else self.credentials(client_id)) | form
        async with self.http() as http:
            return await http.post(PREFIX + path, data={k: v for k, v in data.items() if v is not None})

    async def browser(self) -> httpx.AsyncClient:
        """Return a browser in which the demo user has signed in through the real page."""
        http = self.http()
        await sign_in(http)
        return http

    async def code(self, client_id: str = "web", browser: httpx.AsyncClient | None = None, **extra: Any) -> str:
        """Walk through authorize (and consent) and return the code."""
        answer = await self.authorize(browser or await self.browser(), client_id, **extra)
        assert "code" in answer, answer
        return answer["code"]

    async def session(self, email: str = "ada@example.com", password: str = PASSWORD) -> Session:
        """Sign in without a page."""
        outcome = await login.sign_in(
            self.authority, email=email, password=password, address="192.0.2.1", user_agent="tests", cookie=None
        )
        assert isinstance(outcome, login.SignedIn), outcome
        return outcome.session

    async def grant(self, client_id: str = "web", *, session: Session | None = None, **extra: Any) -> str:
        """Return a code as ``code`` does, without the pages: the same use cases, a lot faster."""
        session = session or await self.session()
        query = urlencode(authorization_request(client_id, **extra)).encode()
        request = await authorize.read(self.authority, parse(query))
        step = await authorize.advance(self.authority, request, session)
        assert not isinstance(step, authorize.MustSignIn), step
        if isinstance(step, authorize.MustConsent):
            answer = await authorize.allow(self.authority, request, session)
        else:
            answer = await authorize.grant_code(self.authority, request, session, step.target)
        return answer.parameters["code"]

    async def obtain(self, client_id: str = "web", *, session: Session | None = None, **extra: Any) -> dict[str, Any]:
        """Return the token response of a whole code flow without the pages."""
        response = await self.redeem(await self.grant(client_id, session=session, **extra), client_id)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def node(self, name: str = "another node") -> "Installation":
        """Return a further node on the same store: keys and revocations as it read them itself, other randomness."""
        world = bootstrap.World(self.clock, SeededRandomness(name), has_cheap_passwords=True)
        authority = bootstrap.assemble(
            self.authority.policy, self.authority.store, self.authority.keyring.master_keys, world, signing_threads=1
        )
        await authority.start()
        return Installation(authority, self.clock, self.secrets, self.user)

    async def authorize(self, browser: httpx.AsyncClient, client_id: str = "web", **extra: Any) -> dict[str, str]:
        """Walk through authorize, allowing whatever is asked, and return the parameters of the answer."""
        response = await browser.get(authorize_url(client_id, **extra))
        for _ in range(4):
            location = response.headers.get("location", "")
            if response.status_code != 303:
                raise AssertionError(f"{response.status_code}: {response.text[:500]}")
            if location.startswith((self.authority.policy.issuer, "/")):
                path = urlsplit(location).path
                if path.endswith("/consent"):
                    page = await browser.get(location)
                    form = hidden_fields(page) | {"decision": "allow"}
                    response = await browser.post(location, data=form)
                elif path.endswith("/login"):
                    page = await browser.get(location)
                    form = hidden_fields(page) | {"email": "ada@example.com", "password": PASSWORD}
                    response = await browser.post(location, data=form)
                else:
                    response = await browser.get(location)
                continue
            return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        raise AssertionError("too many redirects")

    async def redeem(self, code: str, client_id: str = "web", **extra: Any) -> httpx.Response:
        """Redeem a code."""
        form = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER} | extra
        return await self.post("/token", client_id, grant_type="authorization_code", **form)

    async def tokens(self, client_id: str = "web", **extra: Any) -> dict[str, Any]:
        """Return the token response of a whole code flow."""
        response = await self.redeem(await self.code(client_id, **extra), client_id)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def refresh(self, refresh_token: str, client_id: str = "web", **extra: Any) -> httpx.Response:
        """Present a refresh token."""
        return await self.post("/token", client_id, grant_type="refresh_token", refresh_token=refresh_token, **extra)

    async def is_active(self, token: str, client_id: str = "service") -> bool:
        """Ask at introspection."""
        response = await self.post("/introspect", client_id, token=token)
        assert response.status_code == 200, response.text
        return bool(response.json()["active"])


def authorization_request(client_id: str = "web", **extra: Any) -> list[tuple[str, str]]:
    """Return the parameters of a good authorization request, changed by ``extra`` (``None`` leaves one out)."""
    parameters: dict[str, Any] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email offline_access orders:read orders:write",
        "state": "st4te",
        "nonce": "n0nce",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    } | extra
    return [
        (name, one)
        for name, value in parameters.items()
        if value is not None
        for one in ([value] if isinstance(value, str) else value)
    ]


def authorize_url(client_id: str = "web", **extra: Any) -> str:
    """Return the path and query of a good authorization request."""
    return f"{PREFIX}/authorize?{urlencode(authorization_request(client_id, **extra))}"


def hidden_fields(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's form, as a browser would send them."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    assert found, page.text[:2000]
    return {name: html.unescape(value) for name, value in found}


def form_token(page: httpx.Response) -> str:
    """Return the synchronizer token of the first form of a page."""
    return hidden_fields(page)["form_token"]


async def sign_in(http: httpx.AsyncClient, email: str = "ada@example.com", password: str = PASSWORD) -> httpx.Response:
    """Sign in through the page."""
    page = await http.get("/login")
    response = await http.post("/login", data={"form_token": form_token(page), "email": email, "password": password})
    assert response.status_code == 303, response.text[:2000]
    return response


async def install(
    *,
    store: Store | None = None,
    clock: FixedClock | None = None,
    policy: Policy | None = None,
    clients: Sequence[Client] = (),
) -> Installation:
    """Return a started authority with the demo inhabitants and ``clients``."""
    clock = clock or FixedClock()
    world = bootstrap.World(clock, SeededRandomness(), has_cheap_passwords=True)
    authority = bootstrap.assemble(
        policy or Policy(issuer=ISSUER), store or MemoryStore(), MasterKeys(bytes(32)), world, signing_threads=1
    )
    await authority.start()
    installation = Installation(authority, clock)
    scopes = ("orders:read", "orders:write", "orders:admin")
    await create_resource(
        authority, Resource(resource=API, name="Orders", scopes=scopes, permissions=("orders:admin", "orders:approve"))
    )
    await create_resource(authority, Resource(resource=REPORTS, name="Reports", scopes=("reports:read",)))
    await create_role(authority, Role(name="order-admin", resource=API, permissions=("orders:admin", "orders:approve")))
    installation.user = await create_user(authority, email="ada@example.com", password=PASSWORD, name="Ada Lovelace")
    for client in (*_demo_clients(scopes), *clients):
        _, secret = await create_client(authority, client)
        if secret is not None:
            installation.secrets[client.client_id] = secret
    return installation


def _demo_clients(scopes: tuple[str, ...]) -> tuple[Client, ...]:
    openid = ("openid", "profile", "email", "offline_access")
    common: dict[str, Any] = {
        "redirect_uris": (CALLBACK,),
        "post_logout_redirect_uris": ("https://app.example/bye",),
        "scope": (*openid, *scopes, "reports:read"),
        "resources": (API, REPORTS),
    }
    return (
        Client(client_id="web", name="Web app", **common),
        Client(
            client_id="spa",
            name="Single-page app",
            token_endpoint_auth_method="none",
            classification="public",
            **common,
        ),
        Client(
            client_id="service",
            name="Order service",
            grant_types=("client_credentials",),
            scope=scopes,
            resources=(API,),
            default_resource=API,
            serves=(API,),
        ),
    )
