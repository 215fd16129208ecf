"""The rules for one token, each on both sides; `tests/property/test_differential` shows the same to other libraries."""

from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from tests.support.issuers import API, Authority, Network, code, key, verifier
from tests.support.verifying import FakeClock

from mintmark.jose import base64url, jwk, jws, strict_json
from mintmark.jose.jwk import KeySet
from mintmark.verifier import TokenRejected, Verifier
from mintmark.verifier.keys import MAX_KEY_AGE

EVIL = "https://evil.example"


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


@pytest.mark.spec("S05")
@pytest.mark.parametrize("has_just_failed", [False, True])
def test_keys_of_yesterday_judge_nothing(authority: Authority, has_just_failed: bool) -> None:
    made = verifier(authority, is_client=False)
    raw = authority.token(exp=int(authority.clock.now()) + 2 * int(MAX_KEY_AGE))
    authority.network.is_down = True
    authority.clock.advance(MAX_KEY_AGE - 0.5)
    if has_just_failed:
        made.catch_up()
    assert code(lambda: made.verify(raw)) == "accepted"
    authority.clock.advance(0.5)
    assert code(lambda: made.verify(raw)) == "unavailable"


@pytest.mark.spec("S06")
def test_a_key_that_arrives_while_a_token_is_judged_is_believed_at_once(authority: Authority) -> None:
    made = verifier(authority)
    new, real = key("new"), jws.verify
    raw = authority.token(new)

    def verify(token: str, keys: KeySet) -> jws.Verified:
        if new not in authority.keys:
            authority.keys.append(new)
            authority.clock.advance(250)
            (source,) = made._sources.values()
            with patch.object(source.keys, "_on_change", lambda: None):  # the thread that fetched was held up
                source.keys.refresh()
        return real(token, keys)

    with patch.object(jws, "verify", verify):
        assert code(lambda: made.verify(raw)) == "accepted"


@pytest.mark.spec("S06")
def test_the_first_keys_may_arrive_at_any_moment(authority: Authority) -> None:
    made = verifier(authority, is_client=False, is_ready=False)
    (source,) = made._sources.values()
    real = source.keys.due_in

    def due_in() -> float:
        source.keys.refresh()
        return real()

    with made, patch.object(source.keys, "due_in", due_in):
        assert code(lambda: made.verify(authority.token())) == "accepted"


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


@pytest.mark.parametrize("raw", ["opaque-token", "with.a-dot", "with.three.of.them", "...."])
def test_an_opaque_token_needs_somebody_to_ask(authority: Authority, raw: str) -> None:
    authority.opaque(raw)
    assert code(lambda: verifier(authority, is_client=False).verify(raw)) == "malformed"
    made = verifier(authority)
    assert made.verify(raw).sub == "usr_ada"
    assert code(lambda: made.verify("another-token")) == "inactive"
