"""Attacks that once worked, and must not again. Each has the honest use beside it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.answers import claims_of
from tests.protocol.inhabitants import change_client, give_roles, user_of
from tests.support.installation import (
    API,
    CALLBACK,
    PASSWORD,
    REPORTS,
    Installation,
    authorize_url,
    form_token,
    hidden_fields,
    sign_in,
)
from tests.support.world import FixedClock

from mintmark import bootstrap
from mintmark.authority import login, people
from mintmark.authority.authorize import AuthorizationError
from mintmark.authority.model import Client, Resource
from mintmark.authority.people import UnacceptableError
from mintmark.authority.registration import create_client, remove_client
from mintmark.authority.resources import create_resource
from mintmark.system.limiting import MemoryLimiter

NEW_PASSWORD = "another battery for the horse"


@pytest.mark.spec("X04", "RFC 9068 §3")
async def test_a_scope_allowed_at_one_audience_is_not_carried_to_another(mint: Installation) -> None:
    """WIKI understands ``orders:admin`` without a role; the API asks for one. A token for both must not have it."""
    wiki = "https://wiki.example"
    await create_resource(mint.authority, Resource(resource=wiki, name="Wiki", scopes=("orders:admin",)))
    await change_client(mint, "web", resources=(API, REPORTS, wiki))
    both: dict[str, Any] = {"scope": "openid orders:admin", "resource": [API, wiki]}
    assert "orders:admin" not in claims_of((await mint.obtain(**both))["access_token"])["scope"]
    alone = await mint.obtain(scope="openid orders:admin", resource=[wiki])
    assert "orders:admin" in claims_of(alone["access_token"])["scope"]
    await give_roles(mint, "order-admin")
    claims = claims_of((await mint.obtain(**both))["access_token"])
    assert "orders:admin" in claims["scope"]
    assert not {"roles", "permissions"} & set(claims), "each audience would take the other's roles for its own"


@pytest.mark.spec("Z08", "R07")
async def test_a_password_checked_before_it_was_changed_opens_nothing(stored_mint: Installation) -> None:
    mint = stored_mint
    user = await user_of(mint)
    honest = await login.open_session(mint.authority, user, None, "tests")
    assert honest is not None
    await people.set_password(mint.authority, user, NEW_PASSWORD)
    assert await login.open_session(mint.authority, user, None, "tests") is None
    disabled = await people.set_disabled(mint.authority, await user_of(mint), is_disabled=True)
    assert await login.open_session(mint.authority, disabled, None, "tests") is None
    assert await mint.authority.store.sessions.of(user.subject) == []


@pytest.mark.spec("Z08")
async def test_a_copied_cookie_dies_when_the_password_is_changed(mint: Installation) -> None:
    browser, thief = await mint.browser(), mint.http()
    thief.cookies.update(browser.cookies)
    assert (await thief.get("/account")).status_code == 200
    page = await browser.get("/account")
    form = {"form_token": form_token(page), "current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await browser.post("/account/password", data=form)).status_code == 303
    assert (await browser.get("/account")).status_code == 200
    assert (await thief.get("/account")).status_code == 303


@pytest.mark.spec("T10", "Z04")
async def test_guesses_made_all_at_once_are_slowed_down_too(mint: Installation) -> None:
    async def guess(number: int) -> str:
        outcome = await login.sign_in(
            mint.authority,
            email="ada@example.com",
            password=f"guess {number}",
            address="192.0.2.9",
            user_agent="",
            cookie=None,
        )
        assert isinstance(outcome, login.NotSignedIn)
        return "slowed" if outcome.retry_after else "tried"

    outcomes = await asyncio.gather(*(guess(number) for number in range(40)))
    assert outcomes.count("tried") == 5
    # From elsewhere the owner signs in, as often as she likes.
    for _ in range(20):
        assert isinstance(await mint.session(), object)


@pytest.mark.spec("Z04")
async def test_one_subscriber_is_one_source(mint: Installation) -> None:
    async def guess(number: int) -> bool:
        outcome = await login.sign_in(
            mint.authority,
            email="ada@example.com",
            password="wrong",
            address=f"2001:db8::{number:x}",
            user_agent="",
            cookie=None,
        )
        return isinstance(outcome, login.NotSignedIn) and outcome.retry_after > 0

    assert [await guess(number) for number in range(8)] == [False] * 5 + [True] * 3


async def test_what_others_do_makes_the_limiter_forget_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mintmark.system.limiting._MAX_KEYS", 10)
    limiter = MemoryLimiter(FixedClock())
    assert [await limiter.take("sign-in", "ada", burst=2, period=30) for _ in range(3)] == [0, 0, 30]
    for number in range(100):
        await limiter.take("client secret", f"client {number}", burst=2, period=30)
    assert await limiter.take("sign-in", "ada", burst=2, period=30) == 30
    await limiter.give_back("sign-in", "ada", period=30)
    assert await limiter.take("sign-in", "ada", burst=2, period=30) == 0


async def test_what_the_limiter_keeps_is_as_short_however_long_a_name_is() -> None:
    limiter, long = MemoryLimiter(FixedClock()), "a" * 4_000
    for who in (long, long + "\udcff", "ada"):
        assert [await limiter.take("sign-in", who, burst=1, period=30) for _ in range(2)] == [0, 30]
        await limiter.give_back("sign-in", who, period=30)
        assert await limiter.take("sign-in", who, burst=1, period=30) == 0
    assert {len(key) for key in limiter._free_at["sign-in"]} == {16}


@pytest.mark.spec("A17")
async def test_a_client_of_the_same_name_does_not_inherit_consent(mint: Installation) -> None:
    browser = await mint.browser()
    await mint.authorize(browser)
    assert "code=" in (await browser.get(authorize_url())).headers["location"]
    client = await mint.authority.store.clients.get("web")
    assert client is not None
    await remove_client(mint.authority, client)
    mint.clock.advance(1)
    await create_client(mint.authority, replace(client, name="Somebody else", secret_digests=()))
    assert (await browser.get(authorize_url())).headers["location"].startswith("/consent")


@pytest.mark.spec("A17", "OIDC Core §5.5")
async def test_consent_to_less_does_not_cover_claims_asked_for_by_name(mint: Installation) -> None:
    browser, claims = await mint.browser(), '{"userinfo":{"email":null}}'
    await mint.authorize(browser, scope="openid")
    assert "code=" in (await browser.get(authorize_url(scope="openid"))).headers["location"]
    asked = await browser.get(authorize_url(scope="openid", claims=claims))
    assert asked.headers["location"].startswith("/consent")
    await mint.authorize(browser, scope="openid", claims=claims)
    assert "code=" in (await browser.get(authorize_url(scope="openid", claims=claims))).headers["location"]


@pytest.mark.spec("A17")
async def test_nobody_is_spared_the_question_for_a_public_client(mint: Installation) -> None:
    members: dict[str, Any] = {"redirect_uris": (CALLBACK,), "scope": ("openid",), "skip_consent": True}
    with pytest.raises(UnacceptableError, match="public"):
        await create_client(
            mint.authority, Client(client_id="p", name="P", token_endpoint_auth_method="none", **members)
        )
    await create_client(mint.authority, Client(client_id="c", name="C", **members))
    browser = await mint.browser()
    assert "code=" in (await browser.get(authorize_url("c", scope="openid"))).headers["location"]


async def test_half_a_form_is_not_a_form(mint: Installation) -> None:
    """The connection broke: nothing is done, and nobody is answered."""
    app = bootstrap.application(mint.authority)
    browser = await mint.browser()
    fields = hidden_fields(await browser.get("/account"))
    whole = f"form_token={fields['form_token']}&current_password={PASSWORD}&new_password={NEW_PASSWORD}".replace(
        " ", "+"
    )
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": whole[:-5].encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"cookie", cookie.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/account/password",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    assert sent == []
    await sign_in(mint.http())


@pytest.mark.spec("R07", "invariant I6")
async def test_a_code_asked_for_in_a_session_that_has_ended_is_not_made(stored_mint: Installation) -> None:
    """Sign-out ends the grants of the session; none may come to be after that."""
    mint = stored_mint
    session = await mint.session()
    assert await mint.grant(session=session)
    await login.end_session(mint.authority, session.sid, session.subject)
    with pytest.raises(AuthorizationError, match="access_denied"):
        await mint.grant(session=session)
