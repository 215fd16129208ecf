import re

import httpx
import pytest
from tests.protocol.pages.visiting import EMAIL, action, hidden, location, problem, text, try_password
from tests.support.installation import PASSWORD, Installation, form_token

from mintmark.authority.people import create_user, set_disabled

pytestmark = pytest.mark.anyio

BETTER = "a harbour full of small boats"


async def send(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send one of the page's forms."""
    page = await browser.get("/account")
    assert action(page, path) == path
    return await browser.post(path, data={"form_token": form_token(page)} | fields)


async def shown(browser: httpx.AsyncClient) -> str:
    return text(await browser.get("/account"))


@pytest.mark.parametrize("path", ["/account", "/account?done=password"])
async def test_it_needs_a_session(mint: Installation, path: str) -> None:
    assert location(await mint.http().get(path), at="/login") == "/login"
    assert (await (await mint.browser()).get(path)).status_code == 200


async def test_the_front_door_leads_to_it(mint: Installation) -> None:
    location(await mint.http().get("/"), at="/account")


async def test_it_shows_whose_it_is(mint: Installation) -> None:
    page = await (await mint.browser()).get("/account")
    assert page.text.count("<h1") == 1
    assert f"Ada Lovelace · {EMAIL}" in text(page)
    assert "No application has access" in text(page)


@pytest.mark.spec("A17", "R07", "OWASP ASVS 10.7.3")
async def test_an_application_is_shown_and_withdrawn(mint: Installation) -> None:
    browser = await mint.browser()
    tokens = (await mint.redeem(await mint.code(browser=browser))).json()
    before = await shown(browser)
    assert "Web app" in before
    assert "orders:read at Orders" in before
    assert "Since 14 November 2023, 22:13 UTC, until 21 November 2023, 22:13 UTC at the latest" in before
    assert await mint.is_active(tokens["access_token"])
    response = await send(browser, "/account/withdraw", client_id="web")
    page = await browser.get(location(response, at="/account"))
    assert "has no access any more" in text(page)
    assert "No application has access" in text(page)
    assert (await mint.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert not await mint.is_active(tokens["access_token"])


async def test_withdrawing_one_leaves_the_other(mint: Installation) -> None:
    browser = await mint.browser()
    web = (await mint.redeem(await mint.code("web", browser))).json()
    await mint.redeem(await mint.code("spa", browser), "spa")
    page = await browser.get("/account")
    assert text(page).index("Single-page app") < text(page).index("Web app")
    assert 'aria-label="Withdraw access from Web app"' in page.text
    await send(browser, "/account/withdraw", client_id="spa")
    assert "Single-page app" not in await shown(browser)
    assert (await mint.refresh(web["refresh_token"])).status_code == 200


async def test_one_person_cannot_withdraw_for_another(mint: Installation) -> None:
    tokens = await mint.tokens()
    await create_user(mint.authority, email="bob@example.com", password=PASSWORD)
    bob = mint.http()
    await try_password(bob, email="bob@example.com")
    bob_page = await bob.get("/account")
    assert "Web app" not in text(bob_page)
    await bob.post("/account/withdraw", data={"form_token": form_token(bob_page), "client_id": "web"})
    assert (await mint.refresh(tokens["refresh_token"])).status_code == 200


async def test_what_is_only_remembered_and_who_is_gone_are_shown(mint: Installation) -> None:
    browser = await mint.browser()
    await mint.code(browser=browser)
    mint.clock.advance(mint.authority.policy.session_idle_lifetime - 1)
    await browser.get("/account")
    for _ in range(7):
        mint.clock.advance(mint.authority.policy.session_idle_lifetime - 120)
        await browser.get("/account")
    browser = await mint.browser()
    assert "not in use now" in await shown(browser)
    assert await mint.authority.store.clients.remove("web")
    page = await browser.get("/account")
    assert re.search(r"<h3>web</h3>", page.text)
    await send(browser, "/account/withdraw", client_id="web")
    assert "No application has access" in await shown(browser)


@pytest.mark.spec("Z10", "OWASP ASVS 7.5.2")
async def test_other_browsers_are_shown_and_ended(mint: Installation) -> None:
    this = mint.http()
    await try_password(this, headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Firefox/130.0"})
    other = mint.http()
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Safari/604.1"
    await try_password(other, headers={"user-agent": agent})
    tokens = (await mint.redeem(await mint.code(browser=other, scope="openid orders:read"))).json()
    page = await this.get("/account")
    assert "Firefox on Linux This browser" in text(page)
    assert "Safari on iPhone" in text(page)
    [sid] = re.findall(r'name="sid" value="([^"]+)"', page.text)
    response = await send(this, "/account/sessions/end", sid=sid)
    page = await this.get(location(response, at="/account"))
    assert "The other browser is signed out" in text(page)
    assert "iPhone" not in text(page)
    location(await other.get("/account"), at="/login")
    assert (await this.get("/account")).status_code == 200
    assert (await mint.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.spec("Z10")
async def test_nobody_ends_a_session_of_somebody_else(mint: Installation) -> None:
    ada = await mint.browser()
    assert mint.user is not None
    [session] = await mint.authority.store.sessions.of(mint.user.subject)
    await create_user(mint.authority, email="bob@example.com", password=PASSWORD)
    bob, bob_elsewhere = mint.http(), mint.http()
    await try_password(bob, email="bob@example.com")
    await try_password(bob_elsewhere, email="bob@example.com")
    await send(bob, "/account/sessions/end", sid=session.sid)
    await send(bob, "/account/sessions/end")
    assert (await ada.get("/account")).status_code == 200
    [own] = re.findall(r'name="sid" value="([^"]+)"', (await bob.get("/account")).text)
    await send(bob, "/account/sessions/end", sid=own)
    location(await bob_elsewhere.get("/account"), at="/login")


async def test_ending_this_session_is_signing_out(mint: Installation) -> None:
    browser = await mint.browser()
    await mint.browser()
    assert mint.user is not None
    page = await browser.get("/account")
    [other] = re.findall(r'name="sid" value="([^"]+)"', page.text)
    sids = {session.sid for session in await mint.authority.store.sessions.of(mint.user.subject)}
    [this] = sids - {other}
    location(await send(browser, "/account/sessions/end", sid=this), at="/signed-out")
    location(await browser.get("/account"), at="/login")


async def test_an_expired_session_is_not_shown(mint: Installation) -> None:
    await mint.browser()
    mint.clock.advance(mint.authority.policy.session_idle_lifetime)
    page = await (await mint.browser()).get("/account")
    assert 'name="sid"' not in page.text


@pytest.mark.spec("Z10", "OWASP ASVS 7.4.1")
async def test_sign_out_ends_the_session_on_our_side(mint: Installation) -> None:
    browser = await mint.browser()
    cookie = browser.cookies["__Host-mintmark"]
    response = await send(browser, "/account/sign-out")
    location(response, at="/signed-out")
    assert "Max-Age=0" in response.headers["set-cookie"]
    browser.cookies.set("__Host-mintmark", cookie)
    location(await browser.get("/account"), at="/login")


@pytest.mark.spec("Z03", "R07", "OWASP ASVS 6.2.3")
async def test_the_password_is_changed_and_all_else_signed_out(mint: Installation) -> None:
    browser, other = await mint.browser(), await mint.browser()
    tokens = (await mint.redeem(await mint.code(browser=browser))).json()
    response = await send(browser, "/account/password", current_password=PASSWORD, new_password=BETTER)
    page = await browser.get(location(response, at="/account"))
    assert "Your password is changed" in text(page)
    location(await other.get("/account"), at="/login")
    assert (await mint.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await try_password(mint.http(), PASSWORD)).status_code == 400
    assert (await try_password(mint.http(), BETTER)).status_code == 303


@pytest.mark.spec("Z01", "Z02", "Z03")
@pytest.mark.parametrize(
    ("current", "new", "says"),
    [
        ("wrong", BETTER, "The current password is not right."),
        (PASSWORD, "short", "Use at least 8 characters."),
        (PASSWORD, "password1", "longer"),
        (PASSWORD, "", "Fill in both passwords."),
        ("", BETTER, "Fill in both passwords."),
    ],
)
async def test_a_password_that_cannot_be_changed(mint: Installation, current: str, new: str, says: str) -> None:
    browser, other = await mint.browser(), await mint.browser()
    response = await send(browser, "/account/password", current_password=current, new_password=new)
    assert response.status_code == 400
    assert says in problem(response)
    assert "<title>Password not changed" in response.text
    for secret in (current, new):
        assert not secret or f'value="{secret}"' not in response.text
    assert (await other.get("/account")).status_code == 200
    assert (await try_password(mint.http())).status_code == 303


async def test_password_managers_understand_the_form(mint: Installation) -> None:
    page = await (await mint.browser()).get("/account")
    for name, autocomplete in (("current_password", "current-password"), ("new_password", "new-password")):
        field = re.search(rf'<input id="{name}"[^>]*>', page.text)
        assert field is not None
        assert f'name="{name}"' in field[0]
        assert f'autocomplete="{autocomplete}"' in field[0]
        assert f'<label for="{name}">' in page.text
    assert re.search(rf'<input [^>]*value="{EMAIL}" autocomplete="username"', page.text)


@pytest.mark.parametrize(
    "path", ["/account/withdraw", "/account/sessions/end", "/account/password", "/account/sign-out"]
)
async def test_a_change_after_the_session_ended(mint: Installation, path: str) -> None:
    browser = await mint.browser()
    token = form_token(await browser.get("/account"))
    mint.clock.advance(mint.authority.policy.session_lifetime)
    response = await browser.post(path, data={"form_token": token})
    location(response, at="/signed-out" if path.endswith("sign-out") else "/login")


@pytest.mark.spec("Z10")
async def test_a_disabled_person_is_out_at_once(mint: Installation) -> None:
    browser = await mint.browser()
    assert (await browser.get("/account")).status_code == 200
    assert mint.user is not None
    await set_disabled(mint.authority, mint.user, is_disabled=True)
    location(await browser.get("/account"), at="/login")


async def test_only_our_own_notices_are_shown(mint: Installation) -> None:
    browser = await mint.browser()
    for done in ('"><script>', "unknown", ""):
        page = await browser.get("/account", params={"done": done})
        assert 'role="status"' not in page.text
        assert "<script" not in page.text
    assert 'role="status"' in (await browser.get("/account?done=ended")).text


@pytest.mark.spec("A16")
async def test_names_and_browsers_are_shown_escaped(mint: Installation) -> None:
    attack = '"><script>alert(1)</script>'
    await create_user(mint.authority, email='"><script>@x', password=PASSWORD, name=attack)
    browser, other = mint.http(), mint.http()
    for each in (browser, other):
        await try_password(each, email='"><script>@x', headers={"user-agent": attack})
    page = await browser.get("/account")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert text(page).count(attack) == 3
    assert hidden(page).keys() == {"form_token", "sid"}
