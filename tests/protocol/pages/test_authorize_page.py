import html
import re

import httpx
import pytest
from tests.protocol.pages.visiting import answer, asked_for, csp, decide, hidden, location, query, text
from tests.support.installation import (
    CALLBACK,
    ISSUER,
    PREFIX,
    Installation,
    authorization_request,
    authorize_url,
)

from mintmark.authority.model import Client
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.registration import create_client

pytestmark = pytest.mark.anyio

AUTHORIZE = f"{PREFIX}/authorize"


async def allowed(mint: Installation) -> httpx.AsyncClient:
    """A browser whose person allowed the client ``web`` everything."""
    browser = await mint.browser()
    assert "code" in await mint.authorize(browser)
    return browser


async def test_nobody_signed_in_is_sent_to_sign_in_with_the_request(mint: Installation) -> None:
    target = location(await mint.http().get(authorize_url(x="1")), at="/login")
    assert query(target) == dict(authorization_request(x="1"))


async def test_somebody_signed_in_is_sent_to_consent_with_the_request(mint: Installation) -> None:
    browser = await mint.browser()
    target = location(await browser.get(authorize_url(prompt="consent", max_age="60")), at="/consent")
    assert query(target) == dict(authorization_request(prompt="consent", max_age="60"))


@pytest.mark.spec("A18", "RFC 9207 §2")
async def test_who_allowed_it_goes_back_with_a_code(mint: Installation) -> None:
    browser = await allowed(mint)
    parameters = answer(await browser.get(authorize_url()))
    assert parameters.keys() == {"code", "state", "iss"}
    assert parameters["state"] == "st4te"
    assert parameters["iss"] == mint.authority.policy.issuer
    assert (await mint.redeem(parameters["code"])).status_code == 200


async def test_several_resources_travel_along(mint: Installation) -> None:
    resources = ["https://api.example", "https://reports.example"]
    response = await mint.http().get(authorize_url(resource=resources))
    target = location(response, at="/login")
    assert [f"resource={r}" for r in resources] == re.findall(
        r"resource=[^&]*", target.replace("%3A", ":").replace("%2F", "/")
    )


@pytest.mark.spec("A03", "RFC 6749 §4.1.2.1")
@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": f"{CALLBACK}/"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
@pytest.mark.parametrize("path", [AUTHORIZE, "/consent"])
async def test_a_bad_client_or_redirect_uri_is_told_to_the_person(
    mint: Installation, path: str, changed: dict[str, str | None]
) -> None:
    parameters = dict(authorization_request()) | changed
    sent = {name: value for name, value in parameters.items() if value is not None}
    browser = await mint.browser()
    response = await browser.get(path, params=sent)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "evil.example" not in response.text
    assert "javascript:" not in response.text
    # The same request without the fault goes on.
    assert (await browser.get(path, params=asked_for())).status_code in {200, 303}


@pytest.mark.spec("A05", "A18", "RFC 6749 §4.1.2.1")
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "nothing:known"}, "invalid_scope"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"request": "e30."}, "request_not_supported"),
    ],
)
async def test_other_faults_go_back_to_the_client(
    mint: Installation, changed: dict[str, str | None], error: str
) -> None:
    browser = await mint.browser()
    parameters = answer(await browser.get(AUTHORIZE, params=asked_for("web", **changed)))
    assert parameters["error"] == error
    assert parameters["state"] == "st4te"
    assert parameters["iss"] == mint.authority.policy.issuer
    assert "code" not in parameters


@pytest.mark.spec("A07", "RFC 6749 §3.1")
async def test_a_parameter_in_query_and_body_is_refused(mint: Installation) -> None:
    http = mint.http()
    response = await http.post(f"{AUTHORIZE}?state=a", data=dict(authorization_request()))
    assert response.status_code == 400
    assert "location" not in response.headers
    without_state = dict(authorization_request(state=None))
    assert (await http.post(f"{AUTHORIZE}?state=a", data=without_state)).status_code == 303


async def test_a_post_continues_by_get_with_query_and_body(mint: Installation) -> None:
    http = mint.http()
    body = dict(authorization_request(client_id="web", state=None))
    response = await http.post(f"{AUTHORIZE}?state=a", data=body)
    target = location(response, at=AUTHORIZE)
    assert query(target) == {"state": "a", **body}
    location(await http.get(target), at="/login")


async def test_a_post_must_be_a_form(mint: Installation) -> None:
    response = await mint.http().post(AUTHORIZE, json=dict(authorization_request()))
    assert response.status_code == 400


async def test_the_query_of_the_redirect_uri_is_kept(mint: Installation) -> None:
    uri = "https://app.example/cb?tenant=a%20b"
    await create_client(
        mint.authority, Client(client_id="tenant", name="T", redirect_uris=(uri,), scope=("openid",), skip_consent=True)
    )
    browser = await mint.browser()
    response = await browser.get(authorize_url("tenant", redirect_uri=uri, scope="openid"))
    assert response.headers["location"].startswith(f"{uri}&code=")


@pytest.mark.spec("OAuth 2.0 Form Post Response Mode 1.0 §2")
async def test_form_post_is_a_form_that_submits_itself_or_is_submitted(mint: Installation) -> None:
    browser = await allowed(mint)
    page = await browser.get(authorize_url(response_mode="form_post", state='"><script>alert(1)</script>'))
    assert page.status_code == 200
    fields = hidden(page)
    assert fields.keys() == {"code", "state", "iss"}
    assert fields["state"] == '"><script>alert(1)</script>'
    assert fields["iss"] == ISSUER
    assert f'<form method="post" action="{CALLBACK}">' in page.text
    assert '<button id="continue"' in page.text
    [nonce] = re.findall(r'<script nonce="([^"]+)">', page.text)
    assert page.text.count("<script") == 1
    assert csp(page)["script-src"] == [f"'nonce-{nonce}'"]
    assert "form-action" not in csp(page)
    assert (await mint.redeem(fields["code"])).status_code == 200
    again = await browser.get(authorize_url(response_mode="form_post"))
    assert nonce not in again.text


async def test_form_post_brings_errors_too(mint: Installation) -> None:
    page = await mint.http().get(authorize_url(response_mode="form_post", prompt="none"))
    assert page.status_code == 200
    assert hidden(page)["error"] == "login_required"


@pytest.mark.spec("O02", "OpenID Connect Core 1.0 §3.1.2.6")
async def test_prompt_none_never_shows_a_page(mint: Installation) -> None:
    assert answer(await mint.http().get(authorize_url(prompt="none")))["error"] == "login_required"
    browser = await mint.browser()
    assert answer(await browser.get(authorize_url(prompt="none")))["error"] == "consent_required"
    await mint.authorize(browser)
    assert "code" in answer(await browser.get(authorize_url(prompt="none")))
    assert answer(await browser.get(authorize_url("spa", prompt="none")))["error"] == "consent_required"


@pytest.mark.spec("O02", "OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"prompt": "login"}, {}),
        ({"prompt": "select_account"}, {}),
        ({"prompt": "login consent"}, {"prompt": "consent"}),
        ({"max_age": "30"}, {}),
    ],
)
async def test_a_fresh_sign_in_is_asked_for_once(
    mint: Installation, asked: dict[str, str], left: dict[str, str]
) -> None:
    browser = await allowed(mint)
    assert "code" in answer(await browser.get(authorize_url()))
    mint.clock.advance(31)
    target = location(await browser.get(authorize_url(**asked)), at="/login")
    assert query(target) == dict(authorization_request()) | left
    page = await browser.get(target)
    form = hidden(page) | {"email": "ada@example.com", "password": "correct horse battery staple"}
    onwards = location(await browser.post(target, data=form), at=AUTHORIZE)
    response = await browser.get(onwards)
    if left:
        location(response, at="/consent")
    else:
        tokens = (await mint.redeem(answer(response)["code"])).json()
        assert "id_token" in tokens


async def test_max_age_is_no_matter_while_the_sign_in_is_fresh_enough(mint: Installation) -> None:
    browser = await allowed(mint)
    mint.clock.advance(30)
    assert "code" in answer(await browser.get(authorize_url(max_age="30")))


@pytest.mark.spec("A13", "RFC 9700 §4.12")
async def test_every_redirect_of_the_whole_way_is_a_303(mint: Installation) -> None:
    http, seen = mint.http(), []
    response = await http.get(authorize_url())
    for _ in range(6):
        seen.append(response.status_code)
        target = response.headers["location"]
        if target.startswith(CALLBACK):
            break
        if target.startswith("/login"):
            fields = {"email": "ada@example.com", "password": "correct horse battery staple"}
            response = await http.post(target, data=hidden(await http.get(target)) | fields)
        elif target.startswith("/consent"):
            response = await decide(http, await http.get(target), "allow")
        else:
            response = await http.get(target)
    assert seen == [303] * 4


async def test_a_store_that_is_away_is_no_answer_to_the_client(
    mint: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str) -> Client | None:
        raise StoreUnavailableError("the disk is on fire")

    http = mint.http()
    assert (await http.get(authorize_url())).status_code == 303
    monkeypatch.setattr(mint.authority.store.clients, "get", away)
    response = await http.get(authorize_url())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "fire" not in response.text
    assert "Nothing was changed" in text(response)


@pytest.mark.spec("A05")
@pytest.mark.parametrize("is_remembered", [True, False])
async def test_a_session_that_ends_while_a_code_is_made(
    mint: Installation, monkeypatch: pytest.MonkeyPatch, is_remembered: bool
) -> None:
    browser = await (allowed(mint) if is_remembered else mint.browser())
    page = None if is_remembered else await browser.get("/consent", params=asked_for())

    async def ended(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(mint.authority.store.grants, "add", ended)
        response = await (browser.get(authorize_url()) if page is None else decide(browser, page, "allow"))
        assert answer(response)["error"] == "access_denied"
        assert answer(response)["state"] == "st4te"
    response = await browser.get(authorize_url())
    # What did not become a grant is not remembered as allowed either.
    assert "code" in answer(response) if is_remembered else location(response, at="/consent")


@pytest.mark.spec("A16")
async def test_text_of_the_client_reaches_pages_escaped(mint: Installation) -> None:
    attack = '"><script>alert(1)</script>'
    await create_client(
        mint.authority,
        Client(client_id="evil", name=attack, redirect_uris=(CALLBACK,), scope=("openid",)),
    )
    browser = await mint.browser()
    asked = {"state": attack, "login_hint": attack, "scope": "openid", attack: attack}
    for path in ("/login", "/consent"):
        page = await browser.get(path, params=asked_for("evil", **asked))
        assert page.status_code == 200
        assert "<script" not in page.text
        assert html.escape(attack, quote=False) in page.text.replace("&#34;", '"')
        assert attack in text(page)
