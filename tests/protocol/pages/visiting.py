"""What tests of pages read from a page, and how they fill in its forms."""

import html
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from tests.support.installation import CALLBACK, PASSWORD, authorization_request, form_token

EMAIL = "ada@example.com"


def query(location: str) -> dict[str, str]:
    """The parameters of a URL; each must occur once."""
    pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True, strict_parsing=bool(urlsplit(location).query))
    assert len(dict(pairs)) == len(pairs), location
    return dict(pairs)


def location(response: httpx.Response, *, at: str) -> str:
    """Where a 303 leads; its path must be ``at``."""
    assert response.status_code == 303, (response.status_code, response.text[:500])
    target: str = response.headers["location"]
    assert target.partition("?")[0] == at, target
    return target


def answer(response: httpx.Response, at: str = CALLBACK) -> dict[str, str]:
    """The parameters that a redirect brings to the client."""
    return query(location(response, at=at))


def text(response: httpx.Response) -> str:
    """What a person reads: no tags, single spaces."""
    body = re.sub(r"<(script|svg)\b.*?</\1>", " ", response.text.partition("<body")[2], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body.partition(">")[2])).split()).replace(" ,", ",")


def problem(response: httpx.Response) -> str:
    """What the page announces as wrong; it must be tied to a field where there is a form for it."""
    found = re.search(r'<p class="problem"([^>]*)role="alert">([^<]*)</p>', response.text)
    assert found is not None, text(response)
    name = re.search(r'id="([^"]+)"', found[1])
    if name is not None:
        assert re.search(rf'aria-describedby="[^"]*\b{name[1]}\b[^"]*"', response.text)
    return html.unescape(found[2])


def hidden(response: httpx.Response) -> dict[str, str]:
    """The hidden fields of the page."""
    pairs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', response.text)
    return {html.unescape(name): html.unescape(value) for name, value in pairs}


def action(response: httpx.Response, at: str) -> str:
    """Where the form whose path is ``at`` goes."""
    actions = [html.unescape(found) for found in re.findall(r'<form[^>]* action="([^"]*)"', response.text)]
    return next(found for found in actions if found.partition("?")[0] == at)


def csp(response: httpx.Response) -> dict[str, list[str]]:
    """The content security policy, by directive."""
    directives = [directive.split() for directive in response.headers["content-security-policy"].split("; ")]
    return {name: sources for name, *sources in directives}


def asked_for(client_id: str = "web", **extra: Any) -> httpx.QueryParams:
    """The query of a good authorization request, changed by ``extra``."""
    return httpx.QueryParams(urlencode(authorization_request(client_id, **extra)))


async def decide(browser: httpx.AsyncClient, page: httpx.Response, decision: str, **changed: str) -> httpx.Response:
    """Press a button of the consent page."""
    assert page.status_code == 200, text(page)
    return await browser.post(action(page, "/consent"), data=hidden(page) | {"decision": decision} | changed)


async def try_password(
    browser: httpx.AsyncClient, password: str = PASSWORD, email: str = EMAIL, **extra: Any
) -> httpx.Response:
    """Fill in the sign-in form."""
    page = await browser.get("/login")
    return await browser.post(
        "/login", data={"form_token": form_token(page), "email": email, "password": password}, **extra
    )
