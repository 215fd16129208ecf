"""Redirect URIs: what may be registered and what equals it (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1, §2.6, §4.1.3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.oauth.redirect_uri import matches, registration_problem

REGISTERED = ("https://app.example/cb", "https://app.example/other?x=1")


@pytest.mark.spec("A01")
@pytest.mark.parametrize("application_type", ["web", "native"])
@pytest.mark.parametrize("uri", REGISTERED)
def test_the_registered_one_itself(uri: str, application_type: Any) -> None:
    assert matches(uri, REGISTERED, application_type)


@pytest.mark.spec("A01")
@pytest.mark.parametrize("application_type", ["web", "native"])
@pytest.mark.parametrize(
    "presented",
    [
        "",
        "https://APP.example/cb",
        "HTTPS://app.example/cb",
        "https://app.example/CB",
        "https://app.example/cb/",
        "https://app.example/cb/..",
        "https://app.example/./cb",
        "https://app.example//cb",
        "https://app.example/%63b",
        "https://app.example/cb%2e",
        "https://app.example/cb?",
        "https://app.example/cb?x=1",
        "https://app.example/cb#f",
        "https://app.example/cb#",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "https://user@app.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example.evil.example/cb",
        "https://evil.app.example/cb",
        "https://app.example./cb",
        "https://app.example",
        "https://app.example/",
        "https://app.example/other?x=2",
        "https://app.example/other?x=1&y=2",
        "http://app.example/cb",
        "//app.example/cb",
        "/cb",
        " https://app.example/cb",
        "https://app.example/cb\n",
        "https://app.example/cb ",
        "https://app.example\\cb",
        "https://app.exаmple/cb",  # noqa: RUF001 - a Cyrillic letter
    ],
)
def test_anything_else(presented: str, application_type: Any) -> None:
    assert not matches(presented, REGISTERED, application_type)


@given(st.text(max_size=60))
def test_web_is_equality(presented: str) -> None:
    assert matches(presented, REGISTERED, "web") == (presented in REGISTERED)


@pytest.mark.spec("A02")
@pytest.mark.parametrize(
    ("registered", "presented"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1024/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:65535/cb"),
        ("http://127.0.0.1:8000/cb", "http://127.0.0.1:1024/cb"),
        ("http://127.0.0.1:8000/cb", "http://127.0.0.1/cb"),
        ("http://127.0.0.1/cb?x=1", "http://127.0.0.1:1024/cb?x=1"),
        ("http://[::1]/cb", "http://[::1]:1024/cb"),
        ("http://127.0.0.1", "http://127.0.0.1:1024"),
    ],
)
def test_any_port_on_loopback_of_a_native_application(registered: str, presented: str) -> None:
    assert matches(presented, (registered,), "native")
    assert matches(presented, (registered,), "web") == (presented == registered)


@pytest.mark.spec("A02")
@pytest.mark.parametrize(
    "presented",
    [
        "http://127.0.0.1:1024/other",
        "http://127.0.0.1:1024/cb/",
        "http://127.0.0.1:1024/CB",
        "http://127.0.0.1:1024/cb?x=1",
        "http://127.0.0.1:1024/cb#f",
        "http://127.0.0.1:1024",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:10x/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:１０２４/cb",  # noqa: RUF001 - digits of another script
        "http://127.0.0.1:1024@evil.example/cb",
        "http://user@127.0.0.1:1024/cb",
        "http://127.0.0.1.evil.example:1024/cb",
        "http://127.0.0.2:1024/cb",
        "http://127.1:1024/cb",
        "http://localhost:1024/cb",
        "http://[::1]:1024/cb",
        "https://127.0.0.1:1024/cb",
        "HTTP://127.0.0.1:1024/cb",
        "http://127.0.0.1:1024/cb\n",
        "http://127.0.0.1:1024/cb é",
    ],
)
def test_all_but_the_port_is_exact(presented: str) -> None:
    assert not matches(presented, ("http://127.0.0.1/cb",), "native")


@pytest.mark.spec("A02")
@pytest.mark.parametrize("registered", ["http://localhost/cb", "https://app.example/cb", "com.example.app:/cb"])
def test_the_port_varies_on_ip_literals_only(registered: str) -> None:
    """RFC 8252 §8.3: a name may resolve to anything."""
    assert not matches(registered.replace("/cb", ":1024/cb"), (registered,), "native")
    assert matches(registered, (registered,), "native")


@pytest.mark.spec("A04")
@pytest.mark.parametrize(
    ("uri", "for_web", "for_native"),
    [
        ("https://app.example/cb", True, True),
        ("https://app.example:8443/cb?x=1", True, True),
        ("https://app.example", True, True),
        ("http://127.0.0.1/cb", False, True),
        ("http://127.0.0.1:8000/cb", False, True),
        ("http://[::1]/cb", False, True),
        ("http://localhost/cb", False, True),
        ("com.example.app:/cb", False, True),
        ("com.example.app://cb", False, True),
        ("http://app.example/cb", False, False),
        ("http://127.0.0.1.evil.example/cb", False, False),
        ("http://192.168.0.1/cb", False, False),
        ("http://0.0.0.0/cb", False, False),
        ("myapp:/cb", False, False),
        ("javascript:alert(1)", False, False),
        ("data:text/html,x", False, False),
        ("file:///etc/passwd", False, False),
        ("urn:ietf:wg:oauth:2.0:oob", False, False),
        ("https://app.example/cb#f", False, False),
        ("https://app.example/cb#", False, False),
        ("https://user:secret@app.example/cb", False, False),
        ("https://*.app.example/cb", False, False),
        ("https://app.example/*", False, False),
        ("https://app.example:0/cb", False, False),
        ("https://app.example:65536/cb", False, False),
        ("https://[::1/cb", False, False),
        ("https:///cb", False, False),
        ("https:/cb", False, False),
        ("https:", False, False),
        ("//app.example/cb", False, False),
        ("/cb", False, False),
        ("", False, False),
        ("https://app.example/a b", False, False),
        ("https://app.example/\ncb", False, False),
        ("https://app.example\\cb", False, False),
        ("https://äpp.example/cb", False, False),
        ("https://app.example/" + "x" * 2029, False, False),
    ],
)
def test_what_may_be_registered(uri: str, for_web: bool, for_native: bool) -> None:
    assert (registration_problem(uri, "web") is None) == for_web
    assert (registration_problem(uri, "native") is None) == for_native


def test_the_longest_that_may_be_registered() -> None:
    assert registration_problem("https://app.example/" + "x" * 2028, "web") is None


@given(st.text(max_size=80), st.sampled_from(["web", "native"]))
def test_no_text_is_too_strange(uri: str, application_type: Any) -> None:
    for text in (uri, f"https://{uri}", f"http://127.0.0.1{uri}", f"http://127.0.0.1:{uri}"):
        registration_problem(text, application_type)
        matches(text, ("http://127.0.0.1/cb",), application_type)
