"""What holds for every page: headers, the cookie, forms that are ours, addresses that carry the issuer's path."""

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.protocol.pages.visiting import (
    EMAIL,
    action,
    asked_for,
    csp,
    hidden,
    location,
    query,
    text,
    try_password,
)
from tests.support.installation import (
    PASSWORD,
    PREFIX,
    Installation,
    authorization_request,
    authorize_url,
    form_token,
    install,
)

from mintmark.authority.login import digest_of
from mintmark.authority.policy import Policy

pytestmark = pytest.mark.anyio

COOKIE = "__Host-mintmark"
Visit = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def got(path: str) -> Visit:
    return lambda browser: browser.get(path)


EVERYWHERE: dict[str, tuple[int, Visit]] = {
    "login": (200, got("/login")),
    "login refused": (400, lambda browser: try_password(browser, "wrong")),
    "consent": (200, lambda browser: browser.get("/consent", params=asked_for())),
    "account": (200, got("/account")),
    "logout": (200, got(f"{PREFIX}/logout")),
    "signed out": (200, got("/signed-out")),
    "form_post": (200, got(authorize_url(prompt="none", response_mode="form_post"))),
    "redirect": (303, got(authorize_url())),
    "answer": (303, got(authorize_url(prompt="none"))),
    "front door": (303, got("/")),
    "error": (400, got(f"{PREFIX}/authorize")),
    "stale form": (403, lambda browser: browser.post("/login", data={"email": EMAIL})),
    "no such page": (404, got("/nowhere")),
    "wrong method": (405, lambda browser: browser.put("/login")),
}


@pytest.mark.spec("A14", "A15", "RFC 9700 §4.16", "RFC 9700 §4.2.4")
@pytest.mark.parametrize("name", EVERYWHERE)
async def test_every_reply_carries_the_security_headers(mint: Installation, name: str) -> None:
    status, visit = EVERYWHERE[name]
    browser = await mint.browser()
    browser.headers["origin"] = "https://id.example"
    response = await visit(browser)
    assert response.status_code == status
    policy = csp(response)
    assert policy["default-src"] == ["'none'"]
    assert policy["style-src"] == ["'self'"]
    assert policy["img-src"] == ["'self'", "data:"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    # An application may send the browser on to anywhere after its callback, so there a limit would leave a dead button.
    assert policy.get("form-action", ["'self'"]) == ["'self'"]
    assert ("script-src" in policy) == (name == "form_post")
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers.get("cross-origin-opener-policy", "same-origin") == "same-origin"
    assert ("form-action" in policy) == ("cross-origin-opener-policy" in response.headers)
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.spec("A15")
@pytest.mark.parametrize("name", EVERYWHERE)
async def test_every_page_is_whole_without_others_and_without_inline_code(mint: Installation, name: str) -> None:
    status, visit = EVERYWHERE[name]
    response = await visit(await mint.browser())
    assert response.status_code == status
    if status == 303:
        assert response.content == b""
        return
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text.startswith("<!doctype html>")
    assert '<html lang="en">' in response.text
    assert response.text.count("<h1") == 1
    assert " style=" not in response.text
    assert "<style" not in response.text
    assert not re.search(r"\son[a-z]+=", response.text)
    fetched = re.findall(r'(?:src|<link [^>]*href)="(?!data:)([^"]*)"', response.text)
    assert [re.fullmatch(r"/static/mintmark\.[0-9a-f]{16}\.css", path) is not None for path in fetched] == [True]


@pytest.mark.spec("A15")
async def test_other_origins_are_never_let_in(mint: Installation) -> None:
    http = mint.http()
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for path in ("/login", authorize_url(), "/account", "/nowhere"):
        for method in ("GET", "OPTIONS"):
            response = await http.request(method, path, headers=headers)
            assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_the_stylesheet_is_kept_for_ever_under_a_name_of_its_content(mint: Installation) -> None:
    http = mint.http()
    [path] = re.findall(r'rel="stylesheet" href="([^"]+)"', (await http.get("/login")).text)
    response = await http.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "prefers-color-scheme: dark" in response.text
    assert "@import" not in response.text
    assert "url(" not in response.text
    assert (await http.get("/static/mintmark.0123456789abcdef.css")).status_code == 404


@pytest.mark.spec("Z12", "OWASP ASVS 3.3")
async def test_there_is_one_cookie_for_this_host_only(mint: Installation) -> None:
    http = mint.http()
    [before] = (await http.get("/login")).headers.get_list("set-cookie")
    [after] = (await try_password(http)).headers.get_list("set-cookie")
    for cookie in (before, after):
        assert re.fullmatch(rf"{COOKIE}=[A-Za-z0-9_-]{{43}}; Path=/; Secure; HttpOnly; SameSite=Lax", cookie)
    assert before != after


@pytest.mark.spec("Z12", "Z08")
async def test_the_cookie_before_sign_in_is_not_stored_and_lasts(mint: Installation) -> None:
    http = mint.http()
    first = await http.get("/login")
    second = await http.get("/login")
    assert "set-cookie" not in second.headers
    assert form_token(first) == form_token(second)
    assert await mint.authority.store.sessions.get(digest_of(http.cookies[COOKIE])) is None


@pytest.mark.parametrize("value", ["", "short", "x" * 44, "x" * 42 + "!", "x" * 4000])
async def test_a_cookie_that_is_none_of_ours_is_replaced(mint: Installation, value: str) -> None:
    response = await mint.http().get("/login", headers={"cookie": f"other=1; {COOKIE}={value}; more=2"})
    assert len(response.headers.get_list("set-cookie")) == 1
    good = await mint.http().get("/login", headers={"cookie": f"other=1; {COOKIE}={'x' * 43}; more=2"})
    assert "set-cookie" not in good.headers


async def test_over_http_on_loopback_the_cookie_has_another_name() -> None:
    mint = await install(policy=Policy(issuer="http://localhost:8080"))
    http = mint.http()
    response = await http.get("/login")
    assert re.fullmatch(r"mintmark=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax", response.headers["set-cookie"])
    assert "strict-transport-security" not in response.headers
    location(await try_password(http, headers={"origin": "http://localhost:8080"}), at="/account")
    assert (await http.get("/account")).status_code == 200
    assert (await try_password(http, headers={"origin": "http://127.0.0.1:8080"})).status_code == 403


FORMS = {
    "/login": {"email": EMAIL, "password": PASSWORD},
    "/consent": {"decision": "deny"},
    f"{PREFIX}/logout": {},
    "/account/withdraw": {"client_id": "web"},
    "/account/sessions/end": {"sid": "x"},
    "/account/password": {"current_password": "x", "new_password": "y"},
    "/account/sign-out": {},
}
FORGERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "another token": ({"form_token": "x" * 43}, {}),
    "not ascii": ({"form_token": "\N{SNOWMAN}"}, {}),
    "cross-site": ({}, {"sec-fetch-site": "cross-site"}),
    "same-site": ({}, {"sec-fetch-site": "same-site"}),
    "another origin": ({}, {"origin": "https://evil.example"}),
    "origin null": ({}, {"origin": "null"}),
    "another scheme": ({}, {"origin": "http://id.example"}),
    "another port": ({}, {"origin": "https://id.example:8443"}),
    "no cookie": ({}, {"cookie": "other=1"}),
    "another cookie": ({}, {"cookie": f"{COOKIE}={'x' * 43}"}),
}


@pytest.mark.spec("OWASP ASVS 3.5.1", "RFC 9700 §4.7")
@pytest.mark.parametrize("path", FORMS)
async def test_a_form_that_is_not_ours_changes_nothing(mint: Installation, path: str) -> None:
    browser = await mint.browser()
    good = {"form_token": form_token(await browser.get("/account")), **FORMS[path]}
    params = asked_for() if path == "/consent" else None
    for name, (form, headers) in FORGERIES.items():
        response = await browser.post(path, params=params, data=good | form, headers=headers)
        assert response.status_code == 403, name
        assert "location" not in response.headers
        assert "set-cookie" not in response.headers
        assert "Reload the form and try again" in text(response)
        [again] = re.findall(r'id="again" href="([^"]+)"', response.text)
        assert (await browser.get(again.replace("&amp;", "&"))).status_code == 200
    own = {"origin": "https://id.example", "sec-fetch-site": "same-origin"}
    response = await browser.post(path, params=params, data=good, headers=own)
    assert response.status_code == (400 if path.endswith("/password") else 303)


@pytest.mark.parametrize("path", [path for path in FORMS if not path.endswith("/logout")])
async def test_a_form_without_a_token_is_not_ours(mint: Installation, path: str) -> None:
    browser = await mint.browser()
    params = asked_for() if path == "/consent" else None
    assert (await browser.post(path, params=params, data=FORMS[path] | {"x": "1"})).status_code == 403
    assert (await browser.get("/account")).status_code == 200


async def test_a_token_in_the_query_does_not_count(mint: Installation) -> None:
    browser = await mint.browser()
    token = form_token(await browser.get("/account"))
    response = await browser.post("/account/sign-out", params={"form_token": token}, data={"x": "1"})
    assert response.status_code == 403
    assert (await browser.post("/account/sign-out", data={"form_token": token})).status_code == 303


@pytest.mark.parametrize("path", [path for path in FORMS if path.startswith("/account/")])
async def test_nothing_changes_by_get(mint: Installation, path: str) -> None:
    browser = await mint.browser()
    response = await browser.get(path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert (await browser.get("/account")).status_code == 200


async def test_an_issuer_with_a_path_carries_it_everywhere() -> None:
    mint = await install(policy=Policy(issuer="https://id.example/auth"))
    # The proxy in front takes the path off.
    http = mint.http()
    http.base_url = httpx.URL("https://id.example")
    target = location(await http.get(authorize_url()), at="/auth/login")
    assert query(target) == dict(authorization_request())
    page = await http.get(target.removeprefix("/auth"))
    form = hidden(page) | {"email": EMAIL, "password": PASSWORD}
    posted = await http.post(
        action(page, "/auth/login").removeprefix("/auth"), data=form, headers={"origin": "https://id.example"}
    )
    target = location(posted, at=f"/auth{PREFIX}/authorize")
    target = location(await http.get(target.removeprefix("/auth")), at="/auth/consent")
    consent = await http.get(target.removeprefix("/auth"))
    assert action(consent, "/auth/consent") == target
    pages = [page, consent, await http.get("/account"), await http.get(f"{PREFIX}/logout"), await http.get("/x")]
    for each in pages:
        emitted = re.findall(r'(?:href|action|src)="(/[^"]*)"', each.text)
        assert emitted
        assert [path for path in emitted if not path.startswith("/auth/")] == []
    assert location(await http.get("/"), at="/auth/account")


async def test_only_pages_that_lead_to_an_application_let_a_form_end_elsewhere(mint: Installation) -> None:
    browser = await mint.browser()
    consent, account = await browser.get("/consent", params=asked_for()), await browser.get("/account")
    assert "form-action" not in csp(consent)
    assert "cross-origin-opener-policy" not in consent.headers
    assert csp(account)["form-action"] == ["'self'"]
    assert account.headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("sent", "status"),
    [("x=%FF", 400), ("x=%00", 400), ("x=1&x=2", 400), (f"x={'y' * 20_000}", 414), ("x=%C3%BF", 200)],
)
async def test_what_cannot_be_read_gets_a_page(mint: Installation, sent: str, status: int) -> None:
    response = await mint.http().get(f"/login?{sent}")
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_body_that_is_too_large_gets_a_page(mint: Installation) -> None:
    http = mint.http()
    form = {"form_token": form_token(await http.get("/login")), "email": "x" * 70_000, "password": "y"}
    assert (await http.post("/login", data=form)).status_code == 413
    assert (await http.post("/login", data=form | {"email": "x" * 60_000})).status_code == 400


async def test_a_fault_of_ours_says_nothing_about_itself(mint: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_key: str) -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr(mint.authority.store.clients, "get", broken)
    response = await mint.http().get(authorize_url())
    assert response.status_code == 500
    assert "s3cret" not in response.text
    assert "Something went wrong" in text(response)


async def test_head_is_get_without_a_body(mint: Installation) -> None:
    response = await mint.http().head("/login")
    assert response.status_code == 200
    assert response.content == b""
    assert int(response.headers["content-length"]) > 1000
