from urllib.parse import urlsplit

import httpx
import pytest
from tests.protocol.pages.visiting import EMAIL, action, csp, hidden, location, query, text, try_password
from tests.support.installation import CALLBACK, PASSWORD, PREFIX, Installation

from mintmark.authority.model import Client
from mintmark.authority.people import create_user
from mintmark.authority.registration import create_client

pytestmark = pytest.mark.anyio

LOGOUT = f"{PREFIX}/logout"
BYE = "https://app.example/bye"
COOKIE = "__Host-mintmark"


async def signed_in(mint: Installation, **extra: str) -> tuple[httpx.AsyncClient, str]:
    """A browser, and the ID token of an application in it."""
    browser = await mint.browser()
    tokens = await mint.redeem(await mint.code(browser=browser, **extra))
    return browser, tokens.json()["id_token"]


async def is_signed_in(browser: httpx.AsyncClient) -> bool:
    return (await browser.get("/account")).status_code == 200


def assert_cookie_cleared(response: httpx.Response) -> None:
    [cookie] = response.headers.get_list("set-cookie")
    assert cookie == f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"


@pytest.mark.spec("O06", "Z10", "OpenID Connect RP-Initiated Logout 1.0 §2")
async def test_a_hint_of_this_session_signs_out_and_returns(mint: Installation) -> None:
    browser, hint = await signed_in(mint)
    cookie = browser.cookies[COOKIE]
    mint.clock.advance(mint.authority.policy.id_token_lifetime + 1)
    response = await browser.get(
        LOGOUT, params={"id_token_hint": hint, "post_logout_redirect_uri": BYE, "state": 'a&b="><script>'}
    )
    assert query(location(response, at=BYE)) == {"state": 'a&b="><script>'}
    assert_cookie_cleared(response)
    browser.cookies.set(COOKIE, cookie)
    assert not await is_signed_in(browser)


async def test_a_hint_without_a_return_address_ends_at_our_own_page(mint: Installation) -> None:
    browser, hint = await signed_in(mint)
    response = await browser.get(LOGOUT, params={"id_token_hint": hint})
    page = await browser.get(location(response, at="/signed-out"))
    assert page.status_code == 200
    assert "You are signed out" in text(page)
    assert not await is_signed_in(browser)


@pytest.mark.spec("O06", "OpenID Connect RP-Initiated Logout 1.0 §2")
async def test_without_a_hint_the_person_is_asked(mint: Installation) -> None:
    browser = await mint.browser()
    page = await browser.get(LOGOUT, params={"client_id": "web", "post_logout_redirect_uri": BYE, "state": "s"})
    assert page.status_code == 200
    assert f"sign {EMAIL} out of id.example" in text(page)
    assert "Afterwards you return to app.example" in text(page)
    assert '<button id="confirm"' in page.text
    assert "form-action" not in csp(page)
    assert await is_signed_in(browser)
    response = await browser.post(action(page, LOGOUT), data=hidden(page))
    assert location(response, at=BYE) == f"{BYE}?state=s"
    assert_cookie_cleared(response)
    assert not await is_signed_in(browser)


async def test_asked_for_nothing_at_all_it_asks_too(mint: Installation) -> None:
    browser = await mint.browser()
    page = await browser.get(LOGOUT)
    assert "Afterwards" not in text(page)
    assert csp(page)["form-action"] == ["'self'"]
    location(await browser.post(action(page, LOGOUT), data=hidden(page)), at="/signed-out")
    assert not await is_signed_in(browser)


@pytest.mark.spec("O06")
async def test_a_hint_of_somebody_else_is_asked_about(mint: Installation) -> None:
    _, hint = await signed_in(mint)
    await create_user(mint.authority, email="bob@example.com", password=PASSWORD)
    browser = mint.http()
    await try_password(browser, email="bob@example.com")
    page = await browser.get(LOGOUT, params={"id_token_hint": hint, "post_logout_redirect_uri": BYE})
    assert page.status_code == 200
    assert "bob@example.com" in text(page)
    assert await is_signed_in(browser)


async def test_a_hint_of_another_browser_is_asked_about(mint: Installation) -> None:
    _, hint = await signed_in(mint)
    other = await mint.browser()
    assert (await other.get(LOGOUT, params={"id_token_hint": hint})).status_code == 200
    assert await is_signed_in(other)


@pytest.mark.spec("O06", "A16")
@pytest.mark.parametrize(
    "changed",
    [
        {"post_logout_redirect_uri": "https://evil.example/bye"},
        {"post_logout_redirect_uri": f"{BYE}/"},
        {"post_logout_redirect_uri": CALLBACK},
        {"post_logout_redirect_uri": "javascript:alert(1)"},
        {"client_id": "spa"},
        {"id_token_hint": "e30.e30."},
        {"id_token_hint": ""},
    ],
)
async def test_a_bad_request_neither_redirects_nor_signs_out(mint: Installation, changed: dict[str, str]) -> None:
    browser, hint = await signed_in(mint)
    good = {"id_token_hint": hint, "post_logout_redirect_uri": BYE}
    response = await browser.get(LOGOUT, params=good | changed)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "evil" not in response.text
    assert "javascript:" not in response.text
    assert await is_signed_in(browser)
    location(await browser.get(LOGOUT, params=good), at=BYE)


@pytest.mark.spec("O06")
async def test_an_access_token_or_a_foreign_signature_is_no_hint(mint: Installation) -> None:
    browser = await mint.browser()
    tokens = (await mint.redeem(await mint.code(browser=browser))).json()
    head, body, _ = tokens["id_token"].split(".")
    for hint in (tokens["access_token"], f"{head}.{body}.{'A' * 342}", f"eyJhbGciOiJub25lIn0.{body}."):
        assert (await browser.get(LOGOUT, params={"id_token_hint": hint})).status_code == 400
        assert await is_signed_in(browser)
    location(await browser.get(LOGOUT, params={"id_token_hint": tokens["id_token"]}), at="/signed-out")


async def test_the_application_s_own_post_continues_by_get(mint: Installation) -> None:
    browser, hint = await signed_in(mint)
    form = {"id_token_hint": hint, "post_logout_redirect_uri": BYE, "state": "s"}
    cross_site = {"origin": "https://app.example", "sec-fetch-site": "cross-site"}
    # A cross-site POST does not carry a Lax cookie.
    response = await mint.http().post(f"{LOGOUT}?state=s", data=form | {"state": ""}, headers=cross_site)
    assert response.status_code == 400
    response = await mint.http().post(LOGOUT, data=form, headers=cross_site)
    target = location(response, at=LOGOUT)
    assert query(target) == form
    assert await is_signed_in(browser)
    assert location(await browser.get(target), at=BYE) == f"{BYE}?state=s"
    assert not await is_signed_in(browser)


@pytest.mark.spec("O06")
async def test_a_forged_confirmation_does_nothing(mint: Installation) -> None:
    browser = await mint.browser()
    page = await browser.get(LOGOUT)
    good = hidden(page)
    response = await browser.post(LOGOUT, data={"form_token": "x" * 43})
    assert response.status_code == 403
    response = await browser.post(LOGOUT, data=good, headers={"sec-fetch-site": "cross-site"})
    assert response.status_code == 403
    response = await browser.get(LOGOUT, params=good)
    assert response.status_code == 200
    assert await is_signed_in(browser)
    location(await browser.post(LOGOUT, data=good), at="/signed-out")


@pytest.mark.spec("O06")
async def test_signed_out_already_nothing_redirects_without_a_hint(mint: Installation) -> None:
    http = mint.http()
    asked = {"client_id": "web", "post_logout_redirect_uri": BYE}
    page = await http.get(LOGOUT, params=asked)
    assert page.status_code == 200
    assert f'id="return" href="{BYE}"' in page.text
    assert "takes you to app.example" in text(page)
    hint = (await mint.tokens())["id_token"]
    location(await http.get(LOGOUT, params=asked | {"id_token_hint": hint}), at=BYE)


async def test_confirming_after_the_session_ended_still_goes_on(mint: Installation) -> None:
    browser = await mint.browser()
    page = await browser.get(LOGOUT, params={"client_id": "web", "post_logout_redirect_uri": BYE})
    mint.clock.advance(mint.authority.policy.session_lifetime)
    location(await browser.post(action(page, LOGOUT), data=hidden(page)), at=BYE)


@pytest.mark.spec("R07", "OpenID Connect Back-Channel Logout 1.0 §2.7")
async def test_grants_of_the_session_end_but_offline_access_goes_on(mint: Installation) -> None:
    browser = await mint.browser()
    online = (await mint.redeem(await mint.code(browser=browser, scope="openid orders:read"))).json()
    offline = (await mint.redeem(await mint.code(browser=browser, scope="openid offline_access orders:read"))).json()
    location(await browser.get(LOGOUT, params={"id_token_hint": online["id_token"]}), at="/signed-out")
    assert (await mint.refresh(online["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await mint.refresh(offline["refresh_token"])).status_code == 200


async def test_a_return_address_keeps_its_own_query(mint: Installation) -> None:
    uri = f"{BYE}?from=mint"
    await create_client(
        mint.authority,
        Client(client_id="q", name="Q", redirect_uris=(CALLBACK,), post_logout_redirect_uris=(uri,), scope=("openid",)),
    )
    browser = await mint.browser()
    page = await browser.get(LOGOUT, params={"client_id": "q", "post_logout_redirect_uri": uri, "state": "s"})
    response = await browser.post(action(page, LOGOUT), data=hidden(page))
    assert urlsplit(response.headers["location"]).query == "from=mint&state=s"
