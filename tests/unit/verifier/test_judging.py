"""The rules for one token, each on both sides; `tests/property/test_differential` shows the same to other libraries."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from tests.support.issuers import API, Authority, Network, key, verifier
from tests.support.verifying import FakeClock, json_response

from mintmark.jose import base64url, jwk, jws, strict_json
from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.judging import RESULT_LIFETIME, Judge, OnStale
from mintmark.verifier.ports import Response
from mintmark.verifier.results import ResultCache
from mintmark.verifier.source import STALE_AFTER
from mintmark.verifier.token import Token

EVIL = "https://evil.example"

IN_BETWEEN: dict[str, tuple[Any, str]] = {
    "before it is looked for": (jws, "verify"),
    "before the token is made": (Token, "__init__"),
    "before it is kept": (ResultCache, "put"),
}


def code(call: Callable[[], object]) -> str:
    """How it ends: ``accepted``, ``unavailable`` or the code of the rejection; any other exception passes."""
    try:
        call()
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"


# --- one token, one issuer


@pytest.mark.spec("X01", "X02", "J08")
def test_a_good_token(authority: Authority) -> None:
    token = verifier(authority).verify(authority.token(roles=["clerk"]))
    assert (token.sub, token.client_id, token.issuer, token.audience) == ("usr_ada", "web", authority.url, (API,))
    assert token.scopes == {"orders:read"}
    assert token.roles == {"clerk"}


@pytest.mark.spec("J06")
@pytest.mark.parametrize(
    "raw", [None, 1, b"a.b.c", "", "a", "a.b", "a.b.c", "a.b.c.d", "..", "\ud800.\ud800.\ud800", "é"]
)
def test_what_is_no_token(authority: Authority, raw: Any) -> None:
    made = verifier(authority, is_client=False)
    assert code(lambda: made.verify(raw)) == "malformed"
    two = verifier(authority, Authority(authority.network, authority.clock, EVIL), is_client=False)
    assert code(lambda: two.verify(raw)) == "malformed"


def test_nothing_at_all_is_not_asked_about(authority: Authority) -> None:
    made = verifier(authority)
    assert code(lambda: made.verify("")) == "malformed"
    assert authority.network.count(authority.introspection_url) == 0


@pytest.mark.spec("S07")
@pytest.mark.parametrize("raw", ["x" * 16_385, "a.b." + "c" * 10_000_000, "." * 16_385, "." * 10_000_000])
def test_the_size_comes_first(authority: Authority, raw: str) -> None:
    made = verifier(authority)
    with patch.object(strict_json, "loads_object", side_effect=AssertionError("it was read")):
        assert code(lambda: made.verify(raw)) == "too_large"


@pytest.mark.spec("X01", "J10", "RFC 9068 §4")
@pytest.mark.parametrize(
    ("typ", "outcome"),
    [
        ("at+jwt", "accepted"),
        ("at+JWT", "accepted"),
        ("application/at+jwt", "accepted"),
        ("application/AT+JWT", "accepted"),
        ("JWT", "wrong_type"),
        ("jwt", "wrong_type"),
        (None, "wrong_type"),
        ("", "wrong_type"),
        ("logout+jwt", "wrong_type"),
        ("dpop+jwt", "wrong_type"),
        ("id_token", "wrong_type"),
        ("text/at+jwt", "wrong_type"),
    ],
)
def test_only_access_tokens_are_taken_for_access_tokens(authority: Authority, typ: str | None, outcome: str) -> None:
    made = verifier(authority)
    assert code(lambda: made.verify(authority.token(typ=typ))) == outcome


@pytest.mark.spec("X02", "RFC 9068 §2.2")
@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_what_every_access_token_says(authority: Authority, name: str) -> None:
    made = verifier(authority)
    assert code(lambda: made.verify(authority.token())) == "accepted"
    without: dict[str, Any] = {name: ...}
    with pytest.raises(TokenRejected) as caught:
        made.verify(authority.token(**without))
    assert (caught.value.code, caught.value.claim) == ("missing_claim", name)


@pytest.mark.spec("X02", "J09")
@pytest.mark.parametrize("name", ["sub", "client_id", "jti", "gid"])
@pytest.mark.parametrize("value", [None, 1, True, ["x"], {"x": "y"}])
def test_names_are_texts(authority: Authority, name: str, value: Any) -> None:
    made = verifier(authority)
    authority.revoke(jti="another", gid=None)
    made.catch_up()
    with pytest.raises(TokenRejected) as caught:
        made.verify(authority.token(**{name: value}))
    assert (caught.value.code, caught.value.claim) == ("bad_claim", name)
    good: dict[str, Any] = {name: "x"}
    assert code(lambda: made.verify(authority.token(**good))) == "accepted"


@pytest.mark.spec("X02")
@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
def test_nobody_has_no_name(authority: Authority, name: str) -> None:
    made = verifier(authority)
    nameless: dict[str, Any] = {name: ""}
    assert code(lambda: made.verify(authority.token(**nameless))) == "bad_claim"
    assert code(lambda: made.verify(authority.token(gid=...))) == "accepted"


@pytest.mark.spec("RFC 9449 §7.1", "RFC 7800 §3.1")
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None])
def test_a_token_bound_to_a_key_is_no_bearer_token(authority: Authority, cnf: Any) -> None:
    made = verifier(authority)
    assert code(lambda: made.verify(authority.token(cnf=cnf))) == "wrong_type"


@pytest.mark.spec("S03", "J08", "RFC 9700 §2.3")
@pytest.mark.parametrize(
    ("aud", "outcome"),
    [
        (API, "accepted"),
        ([API], "accepted"),
        ([EVIL, API], "accepted"),
        ("orders", "accepted"),
        (EVIL, "wrong_audience"),
        ([EVIL], "wrong_audience"),
        (API + "/", "wrong_audience"),
        (API.upper(), "wrong_audience"),
        (API[:-1], "wrong_audience"),
        ("", "wrong_audience"),
        ([], "bad_claim"),
        ([API, 1], "bad_claim"),
        (1, "bad_claim"),
        (None, "bad_claim"),
    ],
)
def test_the_audience_is_one_of_our_names(authority: Authority, aud: Any, outcome: str) -> None:
    made = judging_verifier(authority, audience=[API, "orders"])
    assert code(lambda: made.verify(authority.token(aud=aud))) == outcome


def judging_verifier(authority: Authority, **issuer: Any) -> Verifier:
    made = Verifier([authority.issuer(**issuer)], transport=authority.network, clock=authority.clock)
    made.catch_up()
    return made


@pytest.mark.spec("J09")
@pytest.mark.parametrize("leeway", [0, 30, 300])
def test_expiry_is_exclusive_and_leeway_is_the_verifier_s(authority: Authority, leeway: int) -> None:
    made = verifier(authority, leeway=leeway)
    now = int(authority.clock.now())
    assert code(lambda: made.verify(authority.token(exp=now - leeway + 1))) == "accepted"
    assert code(lambda: made.verify(authority.token(exp=now - leeway))) == "expired"
    assert code(lambda: made.verify(authority.token(nbf=now + leeway))) == "accepted"
    assert code(lambda: made.verify(authority.token(nbf=now + leeway + 1))) == "not_yet_valid"


@pytest.mark.spec("J01", "J07")
def test_the_signature_is_that_of_a_published_key(authority: Authority) -> None:
    made = verifier(authority)
    stranger = jwk.generate("ES256", kid=authority.keys[0].kid)
    assert code(lambda: made.verify(authority.token(stranger))) == "bad_signature"
    assert code(lambda: made.verify(authority.token(jwk.generate("ES256", kid="unknown")))) == "unknown_key"
    assert code(lambda: made.verify(authority.token(jwk.symmetric(b"x" * 32, kid=authority.keys[0].kid)))) == (
        "unsupported_alg"
    )


def forged(authority: Authority, **header: Any) -> str:
    """A token with more in its header, signed correctly."""
    key = authority.keys[0]
    parts = ({"alg": key.alg, "kid": key.kid, "typ": "at+jwt"} | header, authority.claims())
    message = b".".join(base64url.encode_bytes(strict_json.dumps(part)) for part in parts)
    return jws.assemble(message, jws.sign_input(key, message))


@pytest.mark.spec("J03", "RFC 8725 §3.10")
@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_a_header_brings_no_key_and_causes_no_request(authority: Authority, name: str) -> None:
    made = verifier(authority)
    stranger = jwk.generate("ES256", kid="stranger")
    asked = len(authority.network.asked)
    brought = {
        "jku": f"{EVIL}/jwks",
        "x5u": f"{EVIL}/cert",
        "jwk": stranger.public_jwk(),
        "x5c": ["bm8gY2VydGlmaWNhdGU"],
    }
    assert code(lambda: made.verify(forged(authority))) == "accepted"
    assert code(lambda: made.verify(forged(authority, **{name: brought[name]}))) == "malformed"
    assert len(authority.network.asked) == asked


@pytest.mark.spec("J02", "J05")
@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        ({"alg": "none"}, "unsupported_alg"),
        ({"alg": "nOnE"}, "unsupported_alg"),
        ({"alg": "HS256"}, "unsupported_alg"),
        ({"alg": None}, "malformed"),
        ({"crit": []}, "unsupported_crit"),
        ({"crit": ["exp"]}, "unsupported_crit"),
        ({"b64": False, "crit": ["b64"]}, "unsupported_crit"),
        ({"kid": "../../dev/null"}, "unknown_key"),
        ({"kid": "' or 1=1"}, "unknown_key"),
        ({"kid": "k" * 10_000}, "malformed"),
    ],
)
def test_a_header_that_is_refused(authority: Authority, header: dict[str, Any], outcome: str) -> None:
    made = verifier(authority)
    assert code(lambda: made.verify(forged(authority, **header))) == outcome
    assert code(lambda: made.verify(forged(authority, harmless="x"))) == "accepted"


# --- several issuers


@pytest.fixture
def other(network: Network, clock: FakeClock) -> Authority:
    return Authority(network, clock, "https://other.example/tenant")


@pytest.mark.spec("S04", "J08", "ASVS 10.3.3")
def test_the_same_sub_of_another_issuer_is_another_person(authority: Authority, other: Authority) -> None:
    made = verifier(authority, other)
    ours, theirs = made.verify(authority.token(sub="ada")), made.verify(other.token(sub="ada"))
    assert (ours.issuer, ours.sub) == (authority.url, "ada")
    assert (theirs.issuer, theirs.sub) == (other.url, "ada")
    assert ours.issuer != theirs.issuer


@pytest.mark.spec("S04")
def test_revoking_a_subject_of_one_issuer_leaves_the_other_s_alone(authority: Authority, other: Authority) -> None:
    made = verifier(authority, other)
    ours, theirs = authority.token(sub="ada", jti="j", gid="g"), other.token(sub="ada", jti="j", gid="g")
    for entry in ({"sub": "ada", "before": int(authority.clock.now())}, {"jti": "j"}, {"gid": "g"}):
        authority.revoke(**entry)
        made.catch_up()
        assert code(lambda: made.verify(ours)) == "revoked"
        assert code(lambda: made.verify(theirs)) == "accepted"


@pytest.mark.spec("J08")
@pytest.mark.parametrize(
    "iss", [EVIL, "", "https://auth.example/", "HTTPS://AUTH.EXAMPLE", None, 1, ["https://auth.example"], ...]
)
def test_only_issuers_that_are_named_are_trusted(authority: Authority, other: Authority, iss: Any) -> None:
    for made in (verifier(authority, other), verifier(authority)):
        assert code(partial(made.verify, authority.token(iss=iss))) in {
            "wrong_issuer",
            "bad_claim",
            "missing_claim",
        }
        assert code(partial(made.verify, authority.token())) == "accepted"


@pytest.mark.spec("J08", "S04")
def test_stating_another_issuer_changes_the_keys_it_is_judged_by(authority: Authority, other: Authority) -> None:
    made = verifier(authority, other)
    # Whoever can sign for one cannot speak for the other, whatever kid is named.
    assert code(lambda: made.verify(other.token(iss=authority.url))) == "unknown_key"
    same_kid = jwk.generate("ES256", kid=authority.keys[0].kid)
    other.keys.append(same_kid)
    authority.clock.advance(400)
    made.catch_up()
    assert code(lambda: made.verify(other.token(same_kid))) == "accepted"
    assert code(lambda: made.verify(other.token(same_kid, iss=authority.url))) == "bad_signature"


@pytest.mark.spec("J06", "J08")
@pytest.mark.parametrize(
    "payload",
    [
        '{{"iss": "{ours}", "iss": "{theirs}"}}',
        '{{"iss": "{theirs}", "iss": "{ours}"}}',
        '{{"iss": "{ours}", "\\u0069ss": "{theirs}"}}',
        "[]",
        "null",
        "{ours}",
        "\ufeff{{}}",
        '{{"iss": NaN}}',
        "[" * 5000,
    ],
)
def test_what_cannot_be_read_two_ways_is_read_no_way(authority: Authority, other: Authority, payload: str) -> None:
    made = verifier(authority, other)
    header, _, signature = authority.token().split(".")
    text = payload if payload.startswith("[[") else payload.format(ours=authority.url, theirs=other.url)
    raw = f"{header}.{base64url.encode(text.encode())}.{signature}"
    assert code(lambda: made.verify(raw)) == "malformed"
    assert authority.network.count(authority.introspection_url) == 0


@pytest.mark.spec("J03", "S07")
def test_peeking_at_the_issuer_reaches_nobody(authority: Authority, other: Authority) -> None:
    made = verifier(authority, other)
    before = len(authority.network.asked)
    header, _, signature = authority.token().split(".")
    for number in range(100):
        stated = base64url.encode(strict_json.dumps({"iss": f"https://evil{number}.example", "kid": f"{number}"}))
        assert code(partial(made.verify, f"{header}.{stated}.{signature}")) == "wrong_issuer"
    assert len(authority.network.asked) == before


@pytest.mark.spec("S03", "S04")
def test_each_issuer_has_its_own_audience(authority: Authority, other: Authority) -> None:
    made = Verifier(
        [authority.issuer(audience="for-a"), other.issuer(audience=["for-b", "for-both"])],
        transport=authority.network,
        clock=authority.clock,
    )
    made.catch_up()
    assert code(lambda: made.verify(authority.token(aud="for-a"))) == "accepted"
    assert code(lambda: made.verify(other.token(aud="for-both"))) == "accepted"
    assert code(lambda: made.verify(other.token(aud="for-a"))) == "wrong_audience"
    assert code(lambda: made.verify(authority.token(aud="for-b"))) == "wrong_audience"


@pytest.mark.spec("S04")
def test_an_opaque_token_is_shown_to_nobody_where_there_are_several(authority: Authority, other: Authority) -> None:
    raw = other.opaque(authority.opaque("opaque-token"))
    assert code(lambda: verifier(authority, other).verify(raw)) == "malformed"
    assert authority.network.count(authority.introspection_url) == 0
    assert authority.network.count(other.introspection_url) == 0
    assert code(lambda: verifier(authority).verify(raw)) == "accepted"
    assert authority.network.count(authority.introspection_url) == 1


def test_an_opaque_token_needs_somebody_to_ask(authority: Authority) -> None:
    raw = authority.opaque("opaque-token")
    assert code(lambda: verifier(authority, is_client=False).verify(raw)) == "malformed"
    made = verifier(authority)
    assert made.verify(raw).sub == "usr_ada"
    assert code(lambda: made.verify("another-token")) == "inactive"


# --- what is remembered


@pytest.fixture
def signatures() -> Any:
    """Counts the signatures that are checked."""
    with patch.object(jws, "verify", wraps=jws.verify) as counted:
        yield counted


def test_asking_again_costs_no_signature_check(authority: Authority, signatures: Any) -> None:
    made = verifier(authority)
    raw = authority.token()
    first = made.verify(raw)
    assert made.verify("".join(raw)) is first  # an equal string, as a server gets it with each request
    assert signatures.call_count == 1


@pytest.mark.parametrize("lives", [100, 900])
def test_a_result_lasts_for_300_seconds_or_until_expiry(authority: Authority, signatures: Any, lives: int) -> None:
    made = verifier(authority)
    raw = authority.token(exp=int(authority.clock.now()) + lives)
    made.verify(raw)
    lasts = min(RESULT_LIFETIME, lives + 30)
    authority.clock.advance(lasts - 1)
    made.catch_up()
    made.verify(raw)
    assert signatures.call_count == 1
    authority.clock.advance(1)
    made.catch_up()
    assert code(lambda: made.verify(raw)) == ("expired" if lasts == lives + 30 else "accepted")
    assert signatures.call_count == 2


@pytest.mark.spec("J09")
@pytest.mark.parametrize("is_stale", [False, True])
def test_a_hit_still_expires(authority: Authority, is_stale: bool) -> None:
    made = verifier(authority)
    raw = authority.token(exp=int(authority.clock.now()) + 100)
    made.verify(raw)
    authority.clock.advance(129)
    if not is_stale:
        made.catch_up()
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.clock.advance(1)
    assert code(lambda: made.verify(raw)) == "expired"


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize(
    "entry",
    [
        {"jti": "jti-x"},
        {"gid": "gid-x"},
        {"sub": "sub-x", "before": 1_800_000_000},
        {"client_id": "client-x", "before": 1_800_000_000},
        {"sub": "sub-x"},
    ],
)
@pytest.mark.parametrize("is_remembered", [False, True])
def test_a_revoked_token_is_rejected_remembered_or_not(
    authority: Authority, entry: dict[str, Any], is_remembered: bool
) -> None:
    made = verifier(authority)
    raw = authority.token(jti="jti-x", gid="gid-x", sub="sub-x", client_id="client-x")
    bystander = authority.token(iat=1_800_000_001, jti="jti-y", gid="gid-y")
    if is_remembered:
        assert code(lambda: made.verify(raw)) == "accepted"
        assert code(lambda: made.verify(bystander)) == "accepted"
    authority.revoke(**entry)
    made.catch_up()
    assert code(lambda: made.verify(raw)) == "revoked"
    assert code(lambda: made.verify(raw)) == "revoked"
    assert code(lambda: made.verify(bystander)) == "accepted"


def test_what_was_issued_after_the_moment_is_not_revoked(authority: Authority) -> None:
    made = verifier(authority)
    authority.revoke(sub="usr_ada", before=int(authority.clock.now()))
    made.catch_up()
    assert code(lambda: made.verify(authority.token())) == "revoked"
    authority.clock.advance(1)
    assert code(lambda: made.verify(authority.token())) == "accepted"


def test_news_that_concern_others_cost_no_signature_check(authority: Authority, signatures: Any) -> None:
    made = verifier(authority)
    raw = authority.token()
    made.verify(raw)
    for number in range(10):
        authority.revoke(jti=f"other-{number}")
        made.catch_up()
        assert code(lambda: made.verify(raw)) == "accepted"
    assert signatures.call_count == 1


@pytest.mark.spec("invariant I6")
@pytest.mark.parametrize("where", IN_BETWEEN)
def test_a_revocation_that_comes_in_between_is_not_lost(authority: Authority, where: str) -> None:
    made = verifier(authority)
    raw = authority.token(jti="jti-x")
    has_come: list[bool] = []
    owner, name = IN_BETWEEN[where]
    real = getattr(owner, name)

    def call(*args: Any) -> Any:
        if not has_come:
            has_come.append(True)
            authority.revoke(jti="jti-x")
            made.catch_up()
        return real(*args)

    with patch.object(owner, name, call):
        first = code(lambda: made.verify(raw))
    assert has_come
    # It may slip through this once, for it was good when it was looked at, but never again.
    assert first == ("revoked" if where == "before it is looked for" else "accepted")
    assert code(lambda: made.verify(raw)) == "revoked"


@pytest.mark.spec("invariant I6")
def test_a_revocation_while_a_remembered_result_is_judged_anew_is_not_lost(authority: Authority) -> None:
    made = verifier(authority)
    raw = authority.token(jti="jti-x")
    made.verify(raw)
    authority.revoke(jti="other")
    made.catch_up()
    source = next(iter(made._sources.values()))
    real = source.table.revokes

    class Table:
        def revokes(self, *args: Any) -> bool:
            said = real(*args)
            source.table = kept
            authority.revoke(jti="jti-x")
            made.catch_up()
            return said

    kept, source.table = source.table, Table()  # type: ignore[assignment]
    assert code(lambda: made.verify(raw)) == "accepted"
    assert code(lambda: made.verify(raw)) == "revoked"


@pytest.mark.spec("invariant I6")
def test_a_revocation_while_the_issuer_is_asked_counts(authority: Authority) -> None:
    made = verifier(authority, introspect="always")
    raw = authority.token(jti="jti-x")
    authority.opaque(raw, jti="jti-x")
    answer = json_response(authority.active[raw])

    def revoked_meanwhile(_: Any) -> Any:
        authority.revoke(jti="jti-x")
        made.catch_up()
        return answer

    authority.network.answers[authority.introspection_url] = revoked_meanwhile
    assert code(lambda: made.verify(raw)) == "revoked"


@pytest.mark.spec("S06")
def test_a_key_that_was_replaced_under_its_name_is_no_longer_believed(authority: Authority, signatures: Any) -> None:
    made = verifier(authority)
    kid = authority.keys[0].kid
    raw = authority.token()
    made.verify(raw)
    authority.keys = [jwk.generate("ES256", kid=kid)]
    authority.clock.advance(250)  # the keys are due, what was verified would still be remembered
    made.catch_up()
    assert code(lambda: made.verify(raw)) == "bad_signature"
    assert code(lambda: made.verify(authority.token())) == "accepted"


def test_a_key_that_stays_keeps_what_it_signed(authority: Authority, signatures: Any) -> None:
    made = verifier(authority)
    raw = authority.token()
    made.verify(raw)
    authority.keys.append(key("one more"))
    authority.clock.advance(290)
    made.catch_up()
    assert made.metrics()[f'mintmark_verifier_keys{{issuer="{authority.url}"}}'] == 2
    made.verify(raw)
    assert signatures.call_count == 1


def test_only_successes_are_remembered(authority: Authority) -> None:
    made = verifier(authority)
    authority.revoke(jti="gone")
    made.catch_up()
    for raw in (
        authority.token(exp=1),
        authority.token(aud=EVIL),
        authority.token(jti="gone"),
        authority.token(jwk.generate("ES256", kid=authority.keys[0].kid)),
        "opaque-and-inactive",
    ):
        assert code(partial(made.verify, raw)) != "accepted"
    assert made.metrics()["mintmark_verifier_results"] == 0
    made.verify(authority.token())
    assert made.metrics()["mintmark_verifier_results"] == 1


@pytest.mark.spec("S07")
@pytest.mark.parametrize(
    ("bounds", "most"),
    [({"max_results": 10}, 10), ({"max_result_bytes": 40_000}, 8), ({}, 100)],
)
def test_what_is_remembered_is_bounded(authority: Authority, bounds: dict[str, int], most: int) -> None:
    made = verifier(authority)
    judge = Judge(made._sources, clock=authority.clock, on_stale="serve", asks_always=False, leeway=30, **bounds)
    for _ in range(100):
        judge.settle(authority.token(), None)
    assert most // 2 < judge.count <= most


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
