import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.authority.model import Resource
from mintmark.pages.words import Permission, browser, duration, iso, moment, permissions, return_place

ORDERS = Resource(resource="https://api.example", name="Orders", scopes=("orders:read", "shared"))
REPORTS = Resource(resource="https://reports.example", name="", scopes=("shared",))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (30, "30 seconds"),
        (60, "1 minute"),
        (90, "1 minute and 30 seconds"),
        (3600, "1 hour"),
        (5400, "1 hour and 30 minutes"),
        (3601, "1 hour"),
        (86400, "1 day"),
        (90000, "1 day and 1 hour"),
        (90061, "1 day and 1 hour"),
        (604800, "7 days"),
        (366 * 86400, "366 days"),
    ],
)
def test_a_duration_in_words(seconds: int, words: str) -> None:
    assert duration(seconds) == words


@given(st.integers(0, 10**9))
def test_a_duration_never_claims_more_than_there_is(seconds: int) -> None:
    size = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
    parts = [part.split() for part in duration(seconds).split(" and ")]
    claimed = sum(int(count) * size[unit.removesuffix("s")] for count, unit in parts)
    assert claimed <= seconds
    # What is left out is less than one of the second unit named, or of the one below the first.
    assert seconds - claimed < max(60, size[parts[0][1].removesuffix("s")] // 24)


def test_a_moment_for_people_and_for_machines() -> None:
    assert moment(1_700_000_000) == "14 November 2023, 22:13 UTC"
    assert iso(1_700_000_000) == "2023-11-14T22:13:20Z"


def test_scopes_of_openid_are_explained_and_come_first() -> None:
    found = permissions(("orders:read", "email", "openid"), [ORDERS])
    assert [one.text for one in found[:2]] == [
        "Know who you are: an identifier for your account",
        "See your email address",
    ]
    assert found[2:] == (Permission("", "orders:read", "Orders"),)


def test_a_scope_is_shown_with_every_place_it_counts_at() -> None:
    assert permissions(["shared"], [ORDERS, REPORTS]) == (Permission("", "shared", "Orders, https://reports.example"),)
    assert permissions(["shared"], []) == (Permission("", "shared", ""),)


def test_claims_asked_for_count_where_openid_is() -> None:
    asked = [{"email": None}, {"updated_at": None, "something": None}]
    assert len(permissions(["openid"], [], asked)) == 3
    assert permissions(["openid", "email", "profile"], [], asked) == permissions(["openid", "email", "profile"], [])
    assert permissions(["orders:read"], [ORDERS], asked) == permissions(["orders:read"], [ORDERS])


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("https://app.example/callback", "app.example"),
        ("https://app.example:8443/callback", "app.example:8443"),
        ("http://127.0.0.1:51234/cb", "an app on this device (127.0.0.1:51234)"),
        ("http://[::1]:51234/cb", "an app on this device ([::1]:51234)"),
        ("http://localhost:3000/cb", "an app on this device (localhost:3000)"),
        ("com.example.app:/cb", "an app on this device (com.example.app)"),
    ],
)
def test_where_a_redirect_leads(uri: str, place: str) -> None:
    assert return_place(uri) == place


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) AppleWebKit/605 Version/17 Safari/605", "Safari on Mac"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 200, "x" * 40),
        ("", "Unknown browser"),
    ],
)
def test_which_browser_that_is(user_agent: str, words: str) -> None:
    assert browser(user_agent) == words
