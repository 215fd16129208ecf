from dataclasses import replace

import httpx
import pytest
from tests.protocol.pages.visiting import (
    EMAIL,
    answer,
    asked_for,
    csp,
    decide,
    hidden,
    location,
    query,
    text,
    try_password,
)
from tests.support.installation import (
    API,
    CALLBACK,
    PASSWORD,
    PREFIX,
    Installation,
    authorization_request,
)

from mintmark.authority.model import Client
from mintmark.authority.people import create_user, set_disabled
from mintmark.authority.registration import create_client

pytestmark = pytest.mark.anyio


async def ask(browser: httpx.AsyncClient, client_id: str = "web", **extra: str | None) -> httpx.Response:
    """Open the consent page."""
    return await browser.get("/consent", params=asked_for(client_id, **extra))


@pytest.mark.spec("A17", "OWASP ASVS 10.7.2")
async def test_it_shows_who_asks_for_what_for_how_long_and_of_whom(mint: Installation) -> None:
    page = await ask(await mint.browser())
    shown = text(page)
    assert page.text.count("<h1") == 1
    for words in (
        "Allow Web app access to your account?",
        f"Signed in as {EMAIL}",
        "Not you?",
        "Know who you are",
        "See your name",
        "See your email address",
        "Keep this access after you sign out",
        "orders:read at Orders",
        "orders:write at Orders",
        "Up to 7 days",
        "Afterwards you return to app.example",
    ):
        assert words in shown
    assert 'id="allow" name="decision" value="allow"' in page.text
    assert 'id="deny" name="decision" value="deny"' in page.text
    assert "form-action" not in csp(page)


async def test_it_shows_only_what_would_be_granted(mint: Installation) -> None:
    shown = text(await ask(await mint.browser(), scope="openid orders:read orders:admin unknown:scope"))
    assert "orders:read" in shown
    assert "orders:admin" not in shown
    assert "unknown:scope" not in shown
    assert "See your name" not in shown


async def test_it_shows_what_the_claims_parameter_asks_for(mint: Installation) -> None:
    browser = await mint.browser()
    claims = '{"userinfo": {"email": null}, "id_token": {"name": {"essential": true}}}'
    shown = text(await ask(browser, scope="openid", claims=claims))
    assert "See your email address" in shown
    assert "See your name" in shown
    assert "See your" not in text(await ask(browser, scope="openid"))


@pytest.mark.spec("A17")
async def test_the_lifetime_is_the_client_s(mint: Installation) -> None:
    browser = await mint.browser()
    assert "Up to 30 days" in text(await ask(browser, "spa"))
    short = Client(
        client_id="short",
        name="Short",
        redirect_uris=(CALLBACK,),
        scope=("openid",),
        grant_types=("authorization_code",),
        access_token_lifetime=5400,
    )
    await create_client(mint.authority, short)
    assert "Up to 1 hour and 30 minutes" in text(await ask(browser, "short", scope="openid"))


async def test_a_client_that_proves_nothing_comes_with_a_warning(mint: Installation) -> None:
    browser = await mint.browser()
    assert "cannot prove who it is" in text(await ask(browser, "spa"))
    assert "cannot prove who it is" not in text(await ask(browser, "web"))


async def test_allow_brings_a_code_and_is_remembered(mint: Installation) -> None:
    browser = await mint.browser()
    parameters = answer(await decide(browser, await ask(browser), "allow"))
    assert parameters["state"] == "st4te"
    assert (await mint.redeem(parameters["code"])).status_code == 200
    location(await ask(browser), at=f"{PREFIX}/authorize")


@pytest.mark.spec("A05", "A18")
async def test_deny_goes_back_with_access_denied(mint: Installation) -> None:
    browser = await mint.browser()
    parameters = answer(await decide(browser, await ask(browser), "deny"))
    assert parameters["error"] == "access_denied"
    assert parameters["state"] == "st4te"
    assert parameters["iss"] == mint.authority.policy.issuer
    assert (await ask(browser)).status_code == 200


@pytest.mark.parametrize("decision", ["", "Allow", "yes"])
async def test_only_the_two_buttons_count(mint: Installation, decision: str) -> None:
    browser = await mint.browser()
    response = await decide(browser, await ask(browser), decision)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert (await ask(browser)).status_code == 200


@pytest.mark.spec("A17", "OWASP ASVS 10.7.1")
async def test_a_public_client_asks_each_time(mint: Installation) -> None:
    browser = await mint.browser()
    for _ in range(2):
        page = await ask(browser, "spa")
        assert "Allow Single-page app" in text(page)
        assert "code" in answer(await decide(browser, page, "allow"))


async def test_more_than_was_remembered_is_asked_for(mint: Installation) -> None:
    browser = await mint.browser()
    await decide(browser, await ask(browser, scope="openid"), "allow")
    location(await ask(browser, scope="openid"), at=f"{PREFIX}/authorize")
    assert "orders:read" in text(await ask(browser, scope="openid orders:read"))


async def test_nobody_allows_more_than_the_page_showed(mint: Installation) -> None:
    browser = await mint.browser()
    asked = {"scope": "openid orders:read orders:admin"}
    page = await ask(browser, **asked)
    assert mint.user is not None
    assert await mint.authority.store.users.replace(mint.user, replace(mint.user, roles=("order-admin",)))
    response = await decide(browser, page, "allow")
    target = location(response, at="/consent")
    assert query(target) == dict(authorization_request(**asked))
    page = await browser.get(target)
    assert "orders:admin" in text(page)
    assert "code" in answer(await decide(browser, page, "allow"))


async def test_who_is_not_signed_in_signs_in_first(mint: Installation) -> None:
    target = location(await ask(mint.http(), prompt="login consent", max_age="5"), at="/login")
    assert query(target) == dict(authorization_request(prompt="consent"))
    browser = await mint.browser()
    page = await ask(browser)
    mint.clock.advance(mint.authority.policy.session_lifetime)
    location(await decide(browser, page, "allow"), at="/login")
    assert answer(await decide(browser, page, "deny"))["error"] == "access_denied"


async def test_not_you_leads_to_signing_in_with_the_request(mint: Installation) -> None:
    await create_user(mint.authority, email="bob@example.com", password=PASSWORD)
    browser = await mint.browser()
    page = await ask(browser)
    assert "/login?response_type=code&amp;client_id=web&amp;" in page.text
    await try_password(browser, email="bob@example.com")
    assert "Signed in as bob@example.com" in text(await ask(browser))
    # The page of the account before is worth nothing now.
    assert (await decide(browser, page, "allow")).status_code == 403


async def test_who_was_disabled_meanwhile_gets_nothing(mint: Installation) -> None:
    browser = await mint.browser()
    page = await ask(browser)
    assert mint.user is not None
    await set_disabled(mint.authority, mint.user, is_disabled=True)
    location(await decide(browser, page, "allow"), at="/login")


@pytest.mark.spec("O02")
async def test_prompt_none_is_answered_not_shown(mint: Installation) -> None:
    assert answer(await ask(await mint.browser(), prompt="none"))["error"] == "consent_required"


async def test_a_resource_is_named_where_its_scope_counts(mint: Installation) -> None:
    shown = text(await ask(await mint.browser(), scope="orders:read", resource=API))
    assert "orders:read at Orders" in shown
    assert "Know who you are" not in shown


async def test_without_any_scope_it_says_so(mint: Installation) -> None:
    bare = Client(client_id="bare", name="Bare", redirect_uris=(CALLBACK,))
    await create_client(mint.authority, bare)
    browser = await mint.browser()
    page = await ask(browser, "bare", scope=None)
    assert "asks for nothing but to know that you are signed in" in text(page)
    assert "shown" in hidden(page)
    assert "code" in answer(await decide(browser, page, "allow"))
