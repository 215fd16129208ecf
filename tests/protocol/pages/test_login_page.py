import html
import re

import pytest
from structlog.testing import capture_logs
from tests.protocol.pages.visiting import (
    EMAIL,
    action,
    asked_for,
    csp,
    hidden,
    location,
    problem,
    query,
    text,
    try_password,
)
from tests.support.installation import (
    PASSWORD,
    PREFIX,
    Installation,
    authorization_request,
    form_token,
)

from mintmark.authority.model import User
from mintmark.authority.people import create_user, set_disabled
from mintmark.authority.ports import StoreUnavailableError

pytestmark = pytest.mark.anyio

COOKIE = "__Host-mintmark"


async def test_names_and_ids_are_stable(mint: Installation) -> None:
    page = await mint.http().get("/login")
    assert page.status_code == 200
    assert '<html lang="en">' in page.text
    assert page.text.count("<h1") == 1
    email = re.search(r'<input id="email"[^>]*>', page.text)
    password = re.search(r'<input id="password"[^>]*>', page.text)
    assert email is not None
    assert password is not None
    for wanted in ('name="email"', 'type="email"', 'autocomplete="username"', "required"):
        assert wanted in email[0]
    for wanted in ('name="password"', 'type="password"', 'autocomplete="current-password"', "required"):
        assert wanted in password[0]
    assert '<label for="email">' in page.text
    assert '<label for="password">' in page.text
    assert '<button id="sign-in"' in page.text


async def test_without_a_request_signing_in_leads_to_the_account(mint: Installation) -> None:
    http = mint.http()
    location(await try_password(http), at="/account")
    assert (await http.get("/account")).status_code == 200


async def test_with_a_request_it_shows_who_asks_and_goes_on_with_it(mint: Installation) -> None:
    http = mint.http()
    page = await http.get("/login", params=asked_for(login_hint=EMAIL))
    assert "to continue to Web app app.example" in text(page)
    assert f'value="{EMAIL}"' in page.text
    assert "form-action" not in csp(page)
    form = hidden(page) | {"email": EMAIL, "password": PASSWORD}
    target = location(await http.post(action(page, "/login"), data=form), at=f"{PREFIX}/authorize")
    assert query(target) == dict(authorization_request(login_hint=EMAIL))


@pytest.mark.spec("A03")
@pytest.mark.parametrize("changed", [{"client_id": "nobody"}, {"redirect_uri": "https://evil.example"}, {"scope": '"'}])
async def test_a_bad_request_is_an_error_page(mint: Installation, changed: dict[str, str]) -> None:
    http = mint.http()
    response = await http.get("/login", params=asked_for(**changed))
    assert response.status_code == 400
    assert "location" not in response.headers
    assert 'id="password"' not in response.text
    assert (await http.get("/login", params=asked_for())).status_code == 200


@pytest.mark.spec("A16")
@pytest.mark.parametrize("name", ["next", "return_to", "redirect_uri", "continue", "url"])
@pytest.mark.parametrize("value", ["//evil.example", "https://evil.example", "javascript:alert(1)", "/\\evil.example"])
async def test_there_is_no_way_to_name_where_to_go_next(mint: Installation, name: str, value: str) -> None:
    http = mint.http()
    page = await http.get("/login", params={name: value})
    assert "evil" not in page.text
    assert "javascript:" not in page.text
    form = hidden(page) | {"email": EMAIL, "password": PASSWORD, name: value}
    response = await http.post("/login", params={name: value}, data=form)
    assert location(response, at="/account") == "/account"


@pytest.mark.spec("Z05", "OWASP ASVS 6.3.8")
async def test_wrong_unknown_disabled_and_empty_look_the_same(mint: Installation) -> None:
    user = await create_user(mint.authority, email="gone@example.com", password=PASSWORD)
    await set_disabled(mint.authority, user, is_disabled=True)
    tries = [(EMAIL, "wrong"), ("nobody@example.com", PASSWORD), ("gone@example.com", PASSWORD), ("", ""), (EMAIL, "")]
    seen = set()
    for email, password in tries:
        http = mint.http(f"192.0.2.{len(email)}")
        response = await try_password(http, password, email)
        seen.add((response.status_code, problem(response), len(response.headers.get_list("set-cookie"))))
    assert seen == {(400, "The email or the password is not right. Check both and try again.", 0)}
    assert (await try_password(mint.http())).status_code == 303


@pytest.mark.spec("invariant I8")
async def test_a_failure_is_logged_without_what_was_typed(mint: Installation) -> None:
    """People type their password into the field above now and then."""
    with capture_logs() as lines:
        await try_password(mint.http(), email="correct horse battery staple", password="wrong")
        location(await try_password(mint.http()), at="/account")
    assert [line["why"] for line in lines if line["event"] == "sign-in failed"] == ["wrong email or password"]
    assert "horse" not in str(lines)


async def test_a_failure_keeps_the_email_and_the_request_but_not_the_password(mint: Installation) -> None:
    http = mint.http()
    page = await http.get("/login", params=asked_for())
    form = hidden(page) | {"email": EMAIL, "password": "s3cret-typo"}
    failed = await http.post(action(page, "/login"), data=form)
    assert failed.status_code == 400
    assert "<title>Not signed in" in failed.text
    assert f'value="{EMAIL}"' in failed.text
    assert "s3cret-typo" not in failed.text
    assert failed.text.count('aria-invalid="true"') == 2
    assert action(failed, "/login") == action(page, "/login")
    location(
        await http.post(action(failed, "/login"), data=hidden(failed) | {"email": EMAIL, "password": PASSWORD}),
        at=f"{PREFIX}/authorize",
    )


@pytest.mark.spec("A16")
async def test_the_email_is_shown_escaped(mint: Installation) -> None:
    attack = '"><script>alert(1)</script>'
    response = await try_password(mint.http(), "wrong", attack)
    assert "<script" not in response.text
    assert html.escape(attack).replace("&quot;", "&#34;") in response.text


@pytest.mark.spec("Z04", "invariant I4")
async def test_an_attempt_that_nobody_judged_is_no_guess(mint: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or an outage of ours would lock out whoever tried to sign in meanwhile."""

    async def away_now(_: str) -> None:
        raise StoreUnavailableError("away")

    http = mint.http()
    with monkeypatch.context() as away:
        away.setattr(mint.authority.store.users, "by_email", away_now)
        for _ in range(6):
            assert (await try_password(http)).status_code == 503
    for _ in range(4):
        assert (await try_password(http, "wrong")).status_code == 400
    location(await try_password(http), at="/account")


@pytest.mark.spec("Z04", "OWASP ASVS 6.3.1")
async def test_too_many_attempts_have_to_wait(mint: Installation) -> None:
    http = mint.http()
    for _ in range(5):
        assert (await try_password(http, "wrong")).status_code == 400
    response = await try_password(http)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "30"
    assert problem(response) == "Too many attempts. Try again in 30 seconds."
    assert (await try_password(mint.http("198.51.100.7"))).status_code == 303
    mint.clock.advance(30)
    assert (await try_password(http)).status_code == 303


@pytest.mark.spec("Z08", "OWASP ASVS 7.2.4")
async def test_signing_in_gives_a_new_cookie_and_the_old_one_dies(mint: Installation) -> None:
    http = mint.http()
    await http.get("/login")
    before = http.cookies[COOKIE]
    await try_password(http)
    first = http.cookies[COOKIE]
    await try_password(http)
    second = http.cookies[COOKIE]
    assert len({before, first, second}) == 3
    for cookie, status in ((before, 303), (first, 303), (second, 200)):
        other = mint.http()
        other.cookies.set(COOKIE, cookie)
        assert (await other.get("/account")).status_code == status


@pytest.mark.spec("Z08", "OWASP ASVS 7.3.1")
async def test_a_session_dies_when_idle_and_at_its_limit(mint: Installation) -> None:
    policy = mint.authority.policy
    http = await mint.browser()
    mint.clock.advance(policy.session_idle_lifetime)
    location(await http.get("/account"), at="/login")
    http, spent = await mint.browser(), 0
    while spent < policy.session_lifetime - policy.session_idle_lifetime // 2:
        assert (await http.get("/account")).status_code == 200
        mint.clock.advance(policy.session_idle_lifetime // 2)
        spent += policy.session_idle_lifetime // 2
    mint.clock.advance(policy.session_lifetime - spent)
    location(await http.get("/account"), at="/login")


async def test_the_form_is_shown_to_who_is_signed_in_as_well(mint: Installation) -> None:
    browser = await mint.browser()
    page = await browser.get("/login")
    assert page.status_code == 200
    assert 'id="sign-in"' in page.text
    assert "set-cookie" not in page.headers


async def test_who_has_the_wrong_account_learns_why_to_sign_in_again(mint: Installation) -> None:
    hint = (await mint.tokens())["id_token"]
    await create_user(mint.authority, email="bob@example.com", password=PASSWORD)
    browser = mint.http()
    await try_password(browser, email="bob@example.com")
    target = location(await browser.get(f"{PREFIX}/authorize", params=asked_for(id_token_hint=hint)), at="/login")
    assert "asks for another account" in text(await browser.get(target))
    assert "another account" not in text(await browser.get("/login", params=asked_for()))
    assert "another account" not in text(await mint.http().get(target))
    await try_password(browser)
    assert "another account" not in text(await browser.get(target))


async def test_a_password_is_never_taken_from_the_query(mint: Installation) -> None:
    http = mint.http()
    token = form_token(await http.get("/login"))
    response = await http.post("/login", params={"email": EMAIL, "password": PASSWORD}, data={"form_token": token})
    assert response.status_code == 400
    assert PASSWORD not in response.text


async def test_the_user_agent_is_kept_for_the_account_page(mint: Installation) -> None:
    assert isinstance(mint.user, User)
    await try_password(mint.http(), headers={"user-agent": "Mozilla/5.0 (X11; Linux) Firefox/130.0"})
    [session] = await mint.authority.store.sessions.of(mint.user.subject)
    assert session.user_agent.endswith("Firefox/130.0")


@pytest.mark.spec("O02")
async def test_signing_in_satisfies_a_request_opened_right_here(mint: Installation) -> None:
    http = mint.http()
    page = await http.get("/login", params=asked_for(prompt="login consent", max_age="0"))
    form = hidden(page) | {"email": EMAIL, "password": PASSWORD}
    target = location(await http.post(action(page, "/login"), data=form), at=f"{PREFIX}/authorize")
    assert query(target) == dict(authorization_request(prompt="consent"))
    location(await http.get(target), at="/consent")
