"""The pages in a real browser: what people do between the application and its answer."""

from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import expect
from tests.e2e.clients.application import Application
from tests.e2e.clients.authlib_client import AuthlibClient
from tests.e2e.clients.conftest import MakePerson
from tests.e2e.clients.library import RefusedError, Registration, Tokens
from tests.e2e.clients.person import Person
from tests.support.serving import Served

pytestmark = pytest.mark.slow

SCOPE = "openid email orders:read"
AUTHORIZE = "/api/v2/auth/authorize"


@pytest.fixture
def web(authority: Served) -> AuthlibClient:
    return AuthlibClient(Registration(authority.issuer, "web", "client_secret_basic", authority.secrets["web"]))


@pytest.fixture
def trusted(authority: Served) -> AuthlibClient:
    secret = authority.secrets["trusted"]
    return AuthlibClient(Registration(authority.issuer, "trusted", "client_secret_basic", secret))


@pytest.fixture
def spa(authority: Served) -> AuthlibClient:
    return AuthlibClient(Registration(authority.issuer, "spa", "none"))


def enter(person: Person, client: AuthlibClient, scope: str = SCOPE) -> Tokens:
    """Sign in through ``client`` for the first time."""
    return client.redeem(person.authorize(client.authorization_url(person.application.callback, scope)))


def test_who_says_no_is_not_signed_in_at_the_application(person: Person, app: Application, web: AuthlibClient) -> None:
    url = web.authorization_url(app.callback, SCOPE)
    person.go(url)
    person.fill_in()
    answer = person.deny().parameters
    assert answer["error"] == "access_denied"
    assert {"state", "iss"} <= set(answer)
    # Nothing was remembered: the same question comes again, without another sign-in.
    person.go(url)
    assert "code" in person.allow().parameters


def test_a_wrong_password_and_then_the_right_one(person: Person, app: Application, web: AuthlibClient) -> None:
    person.go(web.authorization_url(app.callback, SCOPE, login_hint="somebody@example.com"))
    expect(person.page.locator("#email")).to_have_value("somebody@example.com")
    person.fill_in("wrong horse")
    expect(person.page.get_by_role("alert")).to_contain_text("not right")
    expect(person.page.locator("#email")).to_have_value(person.email)
    expect(person.page.locator("#password")).to_have_value("")
    person.fill_in()
    assert web.redeem(person.allow()).claims["sub"]


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
def test_nothing_needs_javascript(
    make_person: MakePerson, app: Application, web: AuthlibClient, response_mode: str
) -> None:
    person = make_person(has_javascript=False)
    person.go(web.authorization_url(app.callback, SCOPE, response_mode=response_mode))
    person.fill_in()
    person.page.click("#allow")
    if response_mode == "form_post":
        assert app.answers.empty()
        person.page.click("#continue")
    tokens = web.redeem(person.lands())
    assert web.userinfo(tokens)["email"] == person.email
    person.go(web.logout_url(tokens.id_token, app.goodbye, "x"))
    assert person.lands().parameters == {"state": "x"}


def test_prompt_and_max_age_ask_for_the_password_again(person: Person, app: Application, web: AuthlibClient) -> None:
    first = enter(person, web)
    person.go(web.authorization_url(app.callback, SCOPE))  # fresh enough: no page at all
    assert web.redeem(person.lands()).claims["auth_time"] == first.claims["auth_time"]

    for extra in ({"prompt": "login"}, {"max_age": "0"}):
        person.page.wait_for_timeout(1100)  # auth_time is in seconds
        person.go(web.authorization_url(app.callback, SCOPE, **extra))
        assert person.arrives_at("/login")
        person.fill_in()
        again = web.redeem(person.lands())
        assert again.claims["sub"] == first.claims["sub"]
        assert again.claims["auth_time"] > first.claims["auth_time"]
        first = again


def test_prompt_consent_asks_again(person: Person, app: Application, web: AuthlibClient) -> None:
    enter(person, web)
    person.go(web.authorization_url(app.callback, SCOPE, prompt="consent"))
    assert "code" in person.allow().parameters


def test_two_tabs_at_once(person: Person, app: Application, web: AuthlibClient, spa: AuthlibClient) -> None:
    other = person.context.new_page()
    person.go(web.authorization_url(app.callback, SCOPE))
    other.goto(spa.authorization_url(app.callback, SCOPE))
    person.fill_in()
    first = web.redeem(person.allow())

    # The other tab's form was made for the browser as it was before it signed in: it says so, and goes on.
    person.fill_in(page=other)
    other.click("#again")
    person.fill_in(page=other)
    assert spa.redeem(person.allow(other)).claims["sub"] == first.claims["sub"]


def test_two_tabs_at_consent(person: Person, app: Application, web: AuthlibClient, spa: AuthlibClient) -> None:
    person.go(f"{web.issuer}/login")
    person.fill_in()
    assert person.arrives_at("/account")
    other = person.context.new_page()
    person.go(web.authorization_url(app.callback, SCOPE))
    other.goto(spa.authorization_url(app.callback, SCOPE))
    first = web.redeem(person.allow())
    assert spa.redeem(person.allow(other)).claims["sub"] == first.claims["sub"]


def test_the_back_button(person: Person, app: Application, web: AuthlibClient, spa: AuthlibClient) -> None:
    person.authorize(web.authorization_url(app.callback, SCOPE))
    person.page.go_back()  # the question is answered already: straight on to the application
    assert "code" in person.lands().parameters

    person.go(spa.authorization_url(app.callback, SCOPE))
    person.allow()
    person.page.go_back()  # a public client has to ask each time
    assert "code" in person.allow().parameters


def test_back_to_the_sign_in_form(person: Person, app: Application, trusted: AuthlibClient) -> None:
    url = trusted.authorization_url(app.callback, SCOPE)
    person.go(url)
    person.fill_in()
    assert "code" in person.lands().parameters
    person.page.go_back()
    assert person.arrives_at("/login")
    person.fill_in()
    if person.page.locator("#again").count():
        # The browser kept the form it had: it is of the cookie before.
        person.page.click("#again")
        person.fill_in()
    assert "code" in person.lands().parameters


def test_the_session_cookie(person: Person, app: Application, web: AuthlibClient) -> None:
    person.go(web.authorization_url(app.callback, SCOPE))
    [before] = person.context.cookies()
    person.fill_in()
    person.allow()
    [after] = person.context.cookies()
    assert before["value"] != after["value"]  # no session fixation
    # Without TLS, which is for trials on loopback only, there is no Secure and so no __Host- prefix.
    assert (after["name"], after["path"], after["httpOnly"], after["sameSite"]) == ("mintmark", "/", True, "Lax")
    assert (after["expires"], after["secure"]) == (-1, False)
    person.go(f"{web.issuer}/account")
    assert person.page.evaluate("document.cookie") == ""


def test_withdrawing_access_ends_it(person: Person, app: Application, web: AuthlibClient) -> None:
    tokens = enter(person, web, f"{SCOPE} offline_access")
    person.go(f"{web.issuer}/account")
    expect(person.page.get_by_role("heading", name="Web app")).to_be_visible()
    person.page.get_by_role("button", name="Withdraw access from Web app").click()
    expect(person.page.get_by_role("status")).to_contain_text("no access any more")
    expect(person.page.get_by_role("heading", name="Web app")).to_have_count(0)
    assert web.introspect(tokens.access_token) == {"active": False}
    with pytest.raises(requests.HTTPError, match="401"):
        web.userinfo(tokens)
    with pytest.raises(RefusedError, match="invalid_grant"):
        web.refresh(tokens.refresh_token)
    # It has to ask again; the person is still signed in.
    person.go(web.authorization_url(app.callback, SCOPE, prompt="none"))
    assert person.lands().parameters["error"] == "consent_required"


def test_signing_out_ends_what_was_granted_in_the_session(person: Person, app: Application, web: AuthlibClient) -> None:
    tokens = enter(person, web)
    person.go(web.authorization_url(app.callback, f"{SCOPE} offline_access"))
    lasting = web.redeem(person.allow())
    person.go(f"{web.issuer}/account")
    person.page.click("#sign-out")
    assert person.arrives_at("/signed-out")
    assert person.context.cookies() == []
    assert web.introspect(tokens.access_token) == {"active": False}
    with pytest.raises(RefusedError, match="invalid_grant"):
        web.refresh(tokens.refresh_token)
    assert web.refresh(lasting.refresh_token).claims["sub"] == tokens.claims["sub"]
    person.go(f"{web.issuer}/account")
    assert person.arrives_at("/login")


def test_an_application_that_proves_nothing_cannot_sign_a_person_out_unasked(
    person: Person, app: Application, web: AuthlibClient
) -> None:
    enter(person, web)
    url = f"{web.issuer}/api/v2/auth/logout?client_id=web&post_logout_redirect_uri={app.goodbye}&state=x"
    person.go(url)
    person.page.get_by_role("link", name="Stay signed in").click()
    assert person.arrives_at("/account")
    person.go(url)
    person.page.click("#confirm")
    assert person.lands().parameters == {"state": "x"}
    assert person.context.cookies() == []


def test_another_person_takes_over(
    person: Person, make_person: MakePerson, app: Application, web: AuthlibClient
) -> None:
    enter(person, web)
    friend = make_person()
    person.go(web.authorization_url(app.callback, SCOPE, prompt="consent"))
    person.page.get_by_role("link", name="Not you?").click()
    person.fill_in(email=friend.email)
    assert web.userinfo(web.redeem(person.allow()))["email"] == friend.email


@pytest.mark.parametrize(("client_id", "response_mode"), [("trusted", "query"), ("web", "query"), ("web", "form_post")])
def test_an_application_may_send_the_browser_on_to_another_origin(
    person: Person, app: Application, authority: Served, client_id: str, response_mode: str
) -> None:
    """Browsers apply ``form-action`` to every redirect that follows a form, the application's own included."""
    registration = Registration(authority.issuer, client_id, "client_secret_basic", authority.secrets[client_id])
    client = AuthlibClient(registration)
    person.go(client.authorization_url(f"{app.origin}/moving", SCOPE, response_mode=response_mode))
    person.fill_in()
    if client_id == "web":
        person.page.click("#allow")
    assert "code" in app.answer().parameters
    person.page.wait_for_url(f"{app.other_origin}/home")


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_request_comes_from_another_site(person: Person, app: Application, web: AuthlibClient, method: str) -> None:
    """A cross-site POST comes without the cookie; the person must still be found signed in (OIDC Core §3.1.2.1)."""
    enter(person, web)
    person.go(f"{app.other_origin}/home")
    person.page.evaluate(
        """([url, method]) => {
            const form = document.createElement('form');
            form.method = method;
            form.action = url.split('?')[0];
            for (const [name, value] of new URL(url).searchParams) {
                const field = document.createElement('input');
                [field.type, field.name, field.value] = ['hidden', name, value];
                form.append(field);
            }
            document.body.append(form);
            form.submit();
        }""",
        [web.authorization_url(app.callback, SCOPE, prompt="none"), method],
    )
    assert web.redeem(person.lands()).claims["sub"]


def test_a_bad_return_address_is_told_to_the_person_only(person: Person, app: Application, web: AuthlibClient) -> None:
    person.go(web.authorization_url(f"{app.origin}/elsewhere", SCOPE))
    assert urlsplit(person.page.url).path == AUTHORIZE
    expect(person.page.get_by_role("alert")).to_contain_text("return address is not registered")
    assert app.answers.empty()
