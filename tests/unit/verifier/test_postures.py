"""What happens while the feed is silent, and where the issuer is always asked."""

from functools import partial
from typing import Any

import pytest
from tests.support.issuers import Authority, code, verifier

from mintmark.verifier import TokenRejected, VerifierUnavailable
from mintmark.verifier.judging import RESULT_LIFETIME, OnStale
from mintmark.verifier.ports import Response
from mintmark.verifier.source import STALE_AFTER

EVIL = "https://evil.example"


# --- while the feed is silent


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("said", ["active", "inactive", "down"])
@pytest.mark.parametrize("route", [None, "serve", "introspect", "deny"])
@pytest.mark.parametrize("own", ["serve", "introspect", "deny"])
@pytest.mark.parametrize("is_remembered", [False, True])
async def test_postures(
    authority: Authority, own: OnStale, route: OnStale | None, said: str, is_remembered: bool
) -> None:
    made = verifier(authority, on_stale=own)
    raw = authority.token()
    if said == "active":
        authority.opaque(raw)
    if said == "down":
        authority.network.answers[authority.introspection_url] = lambda _: Response(500)

    # Fresh: nobody is asked, whatever the posture.
    fresh = raw if is_remembered else authority.token()
    assert code(lambda: made.verify(fresh, on_stale=route)) == "accepted"
    authority.clock.advance(STALE_AFTER - 0.01)
    assert code(lambda: made.verify(fresh, on_stale=route)) == "accepted"
    assert authority.network.count(authority.introspection_url) == 0

    authority.clock.advance(0.01)
    expected = {
        "serve": "accepted",
        "deny": "unavailable",
        "introspect": {"active": "accepted", "inactive": "inactive", "down": "unavailable"}[said],
    }[route or own]
    assert code(lambda: made.verify(raw, on_stale=route)) == expected
    asked = authority.network.count(authority.introspection_url)
    assert asked == ((route or own) == "introspect")
    try:
        await made.averify(raw, on_stale=route)
    except (TokenRejected, VerifierUnavailable):
        assert expected != "accepted"
    else:
        assert expected == "accepted"

    # Heard again, everything is as before.
    made.catch_up()
    asked = authority.network.count(authority.introspection_url)
    assert code(lambda: made.verify(raw, on_stale=route)) == "accepted"
    assert authority.network.count(authority.introspection_url) == asked


def test_a_posture_that_does_not_exist_is_a_mistake_of_the_programmer(authority: Authority) -> None:
    made = verifier(authority)
    wrong: Any = "denny"
    with pytest.raises(ValueError, match="on_stale is one of"):
        made.verify(authority.token(), on_stale=wrong)


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("posture", ["serve", "introspect"])
def test_silence_never_makes_a_bad_token_good(authority: Authority, posture: OnStale) -> None:
    made = verifier(authority, on_stale=posture)
    revoked, wrong = authority.token(jti="gone"), authority.token(aud=EVIL)
    authority.opaque(revoked)
    authority.opaque(wrong)
    authority.revoke(jti="gone")
    made.catch_up()
    authority.clock.advance(STALE_AFTER)
    assert code(lambda: made.verify(revoked)) == "revoked"
    assert code(lambda: made.verify(wrong)) == "wrong_audience"


def test_while_silent_an_answer_is_worth_15_seconds(authority: Authority) -> None:
    made = verifier(authority, on_stale="introspect")
    raw = authority.opaque(authority.token())
    authority.clock.advance(STALE_AFTER)
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.active.clear()
    authority.clock.advance(STALE_AFTER - 0.01)
    assert code(lambda: made.verify(raw)) == "accepted"
    assert authority.network.count(authority.introspection_url) == 1
    authority.clock.advance(0.01)
    assert code(lambda: made.verify(raw)) == "inactive"
    assert authority.network.count(authority.introspection_url) == 2


def test_an_answer_of_good_times_is_not_worth_more_in_bad_ones(authority: Authority) -> None:
    made = verifier(authority, introspect="always")
    raw = authority.opaque(authority.token())
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.active.clear()
    # It was asked as long ago as the feed was heard.
    authority.clock.advance(STALE_AFTER - 0.01)
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.clock.advance(0.01)
    assert code(lambda: made.verify(raw)) == "inactive"


# --- where the issuer is always asked


def test_asking_always_asks_once_and_remembers(authority: Authority) -> None:
    made = verifier(authority, introspect="always")
    raw = authority.opaque(authority.token())
    for _ in range(5):
        assert code(lambda: made.verify(raw)) == "accepted"
    assert authority.network.count(authority.introspection_url) == 1
    for _ in range(int(RESULT_LIFETIME // 10)):
        authority.clock.advance(10)
        made.catch_up()
        made.verify(raw)
    assert authority.network.count(authority.introspection_url) == 2


def test_asking_always_does_not_ask_about_what_is_bad_by_itself(authority: Authority) -> None:
    made = verifier(authority, introspect="always")
    for raw in (authority.token(aud=EVIL), authority.token(exp=1), "a.b.c"):
        authority.opaque(raw)
        assert code(partial(made.verify, raw)) not in {"accepted", "unavailable"}
    assert authority.network.count(authority.introspection_url) == 0


@pytest.mark.spec("invariant I4", "invariant I6")
@pytest.mark.parametrize(
    ("on_stale", "silence", "expected"),
    [
        ("serve", 1, "accepted"),
        ("introspect", 1, "accepted"),
        ("deny", 1, "accepted"),
        ("serve", 16, "accepted"),
        ("introspect", 16, "unavailable"),
        ("deny", 16, "unavailable"),
    ],
)
def test_an_issuer_that_is_always_asked_and_cannot_be(
    authority: Authority, on_stale: Any, silence: int, expected: str
) -> None:
    """While the feed is live, what we know ourselves is as good as its answer; without it, the posture decides."""
    made = verifier(authority, introspect="always", on_stale=on_stale)
    raw, bad = authority.token(), authority.token(jti="bad")
    authority.revoke(jti="bad")
    made.catch_up()
    authority.network.answers[authority.introspection_url] = lambda _: Response(503)
    authority.clock.advance(silence)
    before = authority.network.count(authority.introspection_url)
    for _ in range(3):
        assert code(lambda: made.verify(raw)) == expected
        assert code(lambda: made.verify(bad)) in {"revoked", "unavailable"}
        assert code(lambda: made.verify("opaque-token")) == "unavailable"
    if expected == "accepted":
        asked = authority.network.count(authority.introspection_url) - before
        assert asked == 1 + 3, "once for the token, and each time for the one that only the issuer knows"
        authority.clock.advance(6)
        authority.opaque(raw)
        made.verify(raw)
        assert authority.network.count(authority.introspection_url) == before + asked + 1


@pytest.mark.spec("J09")
def test_what_expires_in_the_middle_of_a_second_is_asked_about_once(authority: Authority) -> None:
    made = verifier(authority, leeway=0)
    raw = authority.opaque("opaque-token", exp=authority.clock.now() + 0.25)
    authority.clock.advance(0.5)
    assert code(lambda: made.verify(raw)) == "expired"
    assert authority.network.count(authority.introspection_url) == 1


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("entry", [{"jti": "jti-x"}, {"kid": "https://auth.example#1"}])
def test_asking_always_hears_of_revocations_too(authority: Authority, entry: dict[str, Any]) -> None:
    made = verifier(authority, introspect="always")
    raw = authority.token(jti="jti-x")
    authority.opaque(raw, jti="jti-x")
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.revoke(**entry)
    made.catch_up()
    assert code(lambda: made.verify(raw)) == "revoked"


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("introspect", ["when_needed", "always"])
def test_what_the_feed_said_outweighs_an_issuer_that_calls_it_active(authority: Authority, introspect: Any) -> None:
    made = verifier(authority, introspect=introspect)
    authority.revoke(jti="jti-x")
    made.catch_up()
    assert code(lambda: made.verify(authority.opaque("revoked-token", jti="jti-x"))) == "revoked"
    assert code(lambda: made.verify(authority.opaque("another-token", jti="jti-y"))) == "accepted"


@pytest.mark.spec("invariant I6")
def test_a_remembered_opaque_token_hears_of_revocations_too(authority: Authority) -> None:
    made = verifier(authority)
    raw = authority.opaque("opaque-token", jti="jti-x")
    assert code(lambda: made.verify(raw)) == "accepted"
    assert code(lambda: made.verify(raw)) == "accepted"
    assert authority.network.count(authority.introspection_url) == 1
    authority.revoke(jti="jti-x")
    made.catch_up()
    assert code(lambda: made.verify(raw)) == "revoked"
