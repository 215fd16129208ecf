"""Applications that refresh without end, some of which are signed out: what they were told, and what must hold of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from tests.support.nodes import API, CALLBACK, VERIFIER

from mintmark.authority import authorize, derivation
from mintmark.authority.core import Authority
from mintmark.authority.model import AuditEvent, Client, Resource, Session, User
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.authority.token import CodeRequest, TokenResponse, token
from mintmark.jose import base64url
from mintmark.oauth.parameters import Parameters
from mintmark.oauth.pkce import challenge_of

_PATIENCE: Final = 15.0
_REFRESH_EVERY: Final = 0.2
_ASK_AGAIN: Final = 0.1
_TRY_EVERY: Final = 0.03
_PREFIX: Final = "/api/v2/auth"


@dataclass(eq=False)
class Family:
    """One grant, as its application knows it.

    Attributes:
        refreshed_at: Monotonic time of the last answer.
        gap: Longest time between two answers so far, in seconds.
        revoked_at: Monotonic time at which a node said that it is revoked.
    """

    gid: str
    refresh_token: str
    access_token: str
    generation: int = 1
    refreshed: int = 0
    refreshed_at: float = 0.0
    gap: float = 0.0
    revoked_at: float | None = None

    @property
    def name(self) -> tuple[str, str]:
        """What its revocation is called."""
        return "gid", self.gid


@dataclass
class Load:
    """What is going on at some nodes, and what went wrong.

    Attributes:
        urls: The nodes asked, one after the other in no order; may change meanwhile.
        secret: Of the resource server ``api``.
        unanswered: How often an application got no answer, or 503, and asked again.
        wrong: What must not be.
        is_over: Set to end it.
    """

    urls: Sequence[str]
    secret: str
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=_PATIENCE, trust_env=False))
    unanswered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, path: str, url: str | None = None, **form: str) -> tuple[int, dict[str, Any]]:
        """Ask a node; 0 stands for no answer."""
        if not (url or self.urls):
            return 0, {}
        try:
            answer = await self.http.post((url or random.choice(self.urls)) + _PREFIX + path, data=form)
        except httpx.TransportError as problem:
            self.unanswered[type(problem).__name__] += 1
            return 0, {}
        if answer.status_code == 503:
            self.unanswered["503"] += 1
        return answer.status_code, answer.json() if answer.content else {}

    async def refresh(self, family: Family, url: str | None = None) -> tuple[int, dict[str, Any]]:
        """Present the newest token and keep what comes."""
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": family.refresh_token}
        status, body = await self.post("/token", url, **form)
        if status == 200:
            now = time.monotonic()
            family.gap = max(family.gap, now - (family.refreshed_at or now))
            parsed = derivation.parse(body["refresh_token"], "refresh")
            if parsed is None or parsed.generation != family.generation + 1:
                self.wrong.append(f"{family} was answered generation {parsed and parsed.generation}")
                return status, body
            family.refresh_token, family.generation = body["refresh_token"], parsed.generation
            family.access_token, family.refreshed_at = body["access_token"], now
            family.refreshed += 1
        return status, body

    async def revoke(self, family: Family, url: str | None = None) -> bool:
        """Sign an application out; tell whether a node said that it is."""
        status, _ = await self.post("/revoke", url, client_id="app", token=family.refresh_token)
        if status == 200:
            family.revoked_at = time.monotonic()
        return status == 200

    async def is_active(self, access_token: str, url: str) -> bool:
        """Ask for an access token, as a resource server does, until there is an answer."""
        while True:
            form = {"client_id": "api", "client_secret": self.secret, "token": access_token}
            status, body = await self.post("/introspect", url, **form)
            if status == 200:
                return bool(body["active"])
            await asyncio.sleep(_ASK_AGAIN)

    async def refresh_for_ever(self, family: Family) -> None:
        """Be a good application: it keeps its token until it has the next, and asks again when it got no answer."""
        while not self.is_over.is_set():
            status, body = await self.refresh(family)
            if status not in {0, 200, 503}:
                self.wrong.append(f"{family} was answered {status} {body}")
                return
            await asyncio.sleep(_REFRESH_EVERY if status == 200 else _ASK_AGAIN)

    async def sign_out(self, families: Sequence[Family], every: float) -> None:
        """Refresh one after the other once more, and sign it out; ask again where there was no answer."""
        for family in families:
            await self.refresh(family)
            while not self.is_over.is_set() and not await self.revoke(family):  # noqa: ASYNC110 - the next attempt
                await asyncio.sleep(_ASK_AGAIN)
            await asyncio.sleep(every)

    async def try_what_is_revoked(self, families: Sequence[Family]) -> None:
        """Present revoked refresh tokens to any node, again and again: never may one be taken."""
        while not self.is_over.is_set():
            revoked = [family for family in families if family.revoked_at is not None]
            if revoked:
                family = random.choice(revoked)
                status, body = await self.refresh(family)
                if status not in {0, 503} and (status, body.get("error")) != (400, "invalid_grant"):
                    self.wrong.append(f"revoked, and answered {status}: {family}")
            await asyncio.sleep(_TRY_EVERY)


async def found(authority: Authority, count: int) -> tuple[list[Family], str]:
    """Let one person allow one application on many devices; return what each got, and the secret of ``api``."""
    now = authority.clock.now()
    app = Client(
        client_id="app",
        name="App",
        token_endpoint_auth_method="none",
        classification="public",
        redirect_uris=(CALLBACK,),
        scope=("offline_access", "orders:read"),
        resources=(API,),
        refresh_grace=60,
        access_token_signed_response_alg="ES256",
    )
    api = Client(client_id="api", name="Orders", grant_types=("client_credentials",), serves=(API,))
    await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
    await create_client(authority, app)
    _, secret = await create_client(authority, api)
    user = User(subject="usr_ada", email="ada@example.com")
    await authority.store.users.add(user)
    session = Session(
        digest=bytes(32),
        sid="sid",
        subject=user.subject,
        auth_time=now,
        acr="pwd",
        amr=("pwd",),
        user_agent="",
        idle_expires_at=now + 3600,
        expires_at=now + 3600,
    )
    await authority.store.sessions.add(session, replaces=None, audit=AuditEvent(at=now, event="sign_in"))
    families = [_family(await _allow(authority, app, session)) for _ in range(count)]
    return families, secret or ""


async def _allow(authority: Authority, app: Client, session: Session) -> TokenResponse:
    values = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": CALLBACK,
        "scope": " ".join(app.scope),
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    request = await authorize.read(authority, Parameters(values))
    target = await authorize.target_for(authority, request, session.subject)
    answer = await authorize.grant_code(authority, request, session, target)
    code = CodeRequest(code=answer.parameters["code"], redirect_uri=CALLBACK, code_verifier=VERIFIER)
    return await token(authority, app, code)


def _family(answer: TokenResponse) -> Family:
    parsed = derivation.parse(answer.refresh_token or "", "refresh")
    assert parsed is not None
    return Family(base64url.encode(parsed.grant_id), answer.refresh_token or "", answer.access_token)
