import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.jose.jose_keys import ALL, AUDIENCE, ISSUER, NOW, claims, forge, key, keys, outcome, refused

from mintmark.jose import base64url, jws, jwt
from mintmark.jose.algorithms import Algorithm

HEADER = {"alg": "HS256", "kid": "hs", "typ": "at+jwt"}


def decode(token: str, **changed: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"typ": "at+jwt", "issuer": ISSUER, "audience": AUDIENCE, "now": NOW} | changed
    return jwt.decode(token, keys(), **asked)


def token(**changed: Any) -> str:
    return jwt.encode(claims(**changed), key("HS256"), typ="at+jwt")


def raw_token(payload: str) -> str:
    return forge(HEADER, payload.encode(), key("HS256"))


@pytest.mark.spec("J07", "RFC 7519 §7")
@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=20, deadline=None)
@given(
    extra=st.dictionaries(
        st.text(max_size=8), st.text() | st.integers(-(2**60), 2**60) | st.lists(st.booleans()), max_size=4
    )
)
def test_round_trip(alg: Algorithm, extra: dict[str, Any]) -> None:
    good = extra | claims()
    assert decode(jwt.encode(good, key(alg), typ="at+jwt")) == good


@pytest.mark.spec("J06")
@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10_000), other=st.characters())
def test_any_changed_character_is_refused(place: int, other: str) -> None:
    good = token()
    place %= len(good)
    mutated = good[:place] + other + good[place + 1 :]
    assert (outcome(decode, mutated) == "accepted") == (mutated == good)


@pytest.mark.spec("J06")
@settings(max_examples=50, deadline=None)
@given(
    st.text(max_size=80) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_garbage_claims_only_ever_raise_our_error(text: str) -> None:
    assert outcome(decode, text) != "accepted"
    assert outcome(lambda: decode(forge(HEADER, text.encode("utf-8", "surrogatepass"), key("HS256")))) != "accepted"


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "nbf", "iat"]),
        st.sampled_from([ISSUER, AUDIENCE, [AUDIENCE], [], None, True, 0, -1, 1.5, NOW, NOW + 9, {}, [1]]),
    )
)
def test_claims_of_any_type_only_ever_raise_our_error(changed: dict[str, Any]) -> None:
    code = outcome(lambda: decode(token(**changed)))
    assert code in (
        "accepted",
        "missing_claim",
        "bad_claim",
        "wrong_issuer",
        "wrong_audience",
        "expired",
        "not_yet_valid",
    )


@pytest.mark.spec("J06")
@pytest.mark.parametrize(
    "payload",
    [
        "",
        "[]",
        "null",
        '"x"',
        "1",
        "{",
        "{}{}",
        '{"aud":"a","aud":"b"}',
        '{"x":{"a":1,"a":1}}',
        '{"exp":NaN}',
        '{"exp":1e400}',
        "\ufeff{}",
    ],
)
def test_claims_are_one_object_without_repeated_names(payload: str) -> None:
    assert decode(raw_token(" " + json.dumps(claims(), indent=1))) == claims()
    with refused("malformed"):
        decode(raw_token(payload))


@pytest.mark.spec("J06")
def test_a_repeated_claim_among_good_ones_is_refused() -> None:
    good = json.dumps(claims())
    for name in ("aud", "exp", "iss", "sub"):
        with refused("malformed"):
            decode(raw_token(good[:-1] + f', "{name}": {json.dumps(claims()[name])}}}'))


def test_a_signature_that_does_not_hold_comes_before_any_claim() -> None:
    header, _, signature = token().split(".")
    with refused("bad_signature"):
        decode(f"{header}.{base64url.encode(b'{}')}.{signature}")
    with refused("too_large"):
        decode(token(), max_bytes=100)


@pytest.mark.spec("J10", "X01", "RFC 7515 §4.1.9", "RFC 8725 §3.11")
@pytest.mark.parametrize(
    ("typ", "accepted", "good"),
    [
        ("at+jwt", "at+jwt", True),
        ("at+JWT", "at+jwt", True),
        ("application/at+jwt", "at+jwt", True),
        ("application/AT+JWT", "at+jwt", True),
        ("APPLICATION/at+jwt", "at+jwt", True),
        ("at+jwt", "application/at+jwt", True),
        ("at+jwt", ["JWT", "at+jwt"], True),
        ("JWT", {"JWT", None}, True),
        (None, {"JWT", None}, True),
        (None, [None], True),
        ("JWT", "at+jwt", False),
        ("jwt", ["at+jwt", None], False),
        (None, "at+jwt", False),
        (None, ["at+jwt", "JWT"], False),
        ("", "at+jwt", False),
        ("", [None], False),
        ("at+jwt ", "at+jwt", False),
        ("text/at+jwt", "at+jwt", False),
        ("application/application/at+jwt", "at+jwt", False),
        ("application/x/at+jwt", "x/at+jwt", False),
        ("at+jwtx", "at+jwt", False),
        ("at", "at+jwt", False),
        ("to\u212aen+jwt", "token+jwt", False),
        ("token+jwt", "to\u212aen+jwt", False),
        ("at+jwt", [], False),
    ],
)
def test_typ_is_compared_without_case_and_prefix(typ: str | None, accepted: Any, good: bool) -> None:
    made = jwt.encode(claims(), key("HS256"), typ=typ)
    if good:
        assert decode(made, typ=accepted) == claims()
    else:
        with refused("wrong_type"):
            decode(made, typ=accepted)


KINDS = (
    "at+jwt",
    "JWT",
    "logout+jwt",
    "client-authentication+jwt",
    "dpop+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    None,
)


@pytest.mark.spec("J10", "RFC 8725 §3.12")
@pytest.mark.parametrize("offered", KINDS)
def test_kinds_are_not_interchangeable(offered: str | None) -> None:
    made = jwt.encode(claims(), key("HS256"), typ=offered)
    for wanted in KINDS:
        if offered == wanted:
            assert decode(made, typ=[wanted]) == claims()
        else:
            with refused("wrong_type"):
                decode(made, typ=[wanted])


@pytest.mark.spec("J08", "RFC 8725 §3.8")
@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER.upper(),
        "https://ISSUER.example",
        "http://issuer.example",
        ISSUER + "x",
        " " + ISSUER,
        "",
        ISSUER + "\x00",
    ],
)
def test_iss_is_exact(issuer: str) -> None:
    assert decode(token())["iss"] == ISSUER
    with refused("wrong_issuer", claim="iss"):
        decode(token(iss=issuer))
    with refused("wrong_issuer", claim="iss"):
        decode(token(), issuer=issuer)


@pytest.mark.spec("J08")
@pytest.mark.parametrize("name", ["iss", "aud", "exp"])
def test_a_missing_claim_is_named(name: str) -> None:
    assert decode(token())
    with refused("missing_claim", claim=name):
        decode(token(**{name: ...}))


@pytest.mark.spec("J08")
@pytest.mark.parametrize("value", [None, 1, True, [ISSUER], {}, 1.5])
def test_iss_is_a_text(value: Any) -> None:
    with refused("bad_claim", claim="iss"):
        decode(token(iss=value))


@pytest.mark.spec("J08", "RFC 7519 §4.1.3", "RFC 8725 §3.9")
@pytest.mark.parametrize(
    ("stated", "audience", "code"),
    [
        (AUDIENCE, AUDIENCE, "accepted"),
        ([AUDIENCE], AUDIENCE, "accepted"),
        (["other", AUDIENCE], AUDIENCE, "accepted"),
        (["other", AUDIENCE], ["x", AUDIENCE], "accepted"),
        (AUDIENCE, {"x", AUDIENCE}, "accepted"),
        (AUDIENCE, ("x", AUDIENCE), "accepted"),
        (["anything"], None, "accepted"),
        (AUDIENCE + "/", AUDIENCE, "wrong_audience"),
        (AUDIENCE[:-1], AUDIENCE, "wrong_audience"),
        (AUDIENCE[:5], AUDIENCE, "wrong_audience"),
        ("", AUDIENCE, "wrong_audience"),
        ("a", AUDIENCE, "wrong_audience"),
        (["a", "i"], AUDIENCE, "wrong_audience"),
        (AUDIENCE.upper(), AUDIENCE, "wrong_audience"),
        (f"{AUDIENCE} other", AUDIENCE, "wrong_audience"),
        ([AUDIENCE + "/"], [AUDIENCE], "wrong_audience"),
        (AUDIENCE, [AUDIENCE + "/"], "wrong_audience"),
        (AUDIENCE, [], "wrong_audience"),
        (AUDIENCE, "", "wrong_audience"),
        ([], AUDIENCE, "bad_claim"),
        ([], None, "bad_claim"),
        (None, AUDIENCE, "bad_claim"),
        (1, AUDIENCE, "bad_claim"),
        (1, None, "bad_claim"),
        (True, AUDIENCE, "bad_claim"),
        ({AUDIENCE: 1}, AUDIENCE, "bad_claim"),
        ([AUDIENCE, 1], AUDIENCE, "bad_claim"),
        ([AUDIENCE, None], AUDIENCE, "bad_claim"),
        ([[AUDIENCE]], AUDIENCE, "bad_claim"),
    ],
)
def test_aud_is_a_text_or_a_list_of_texts_and_matches_exactly(stated: Any, audience: Any, code: str) -> None:
    made = token(aud=stated)
    if code == "accepted":
        assert decode(made, audience=audience)["aud"] == stated
    else:
        with refused(code, claim="aud"):
            decode(made, audience=audience)


@pytest.mark.spec("J08")
def test_without_an_audience_the_caller_judges_it() -> None:
    assert "aud" not in decode(token(aud=...), audience=None)
    assert decode(token(aud="anybody"), audience=None)["aud"] == "anybody"


@pytest.mark.spec("J09", "RFC 7519 §4.1.4")
def test_expiry_is_exclusive_and_leeway_moves_it() -> None:
    made = token(exp=NOW, nbf=...)
    assert decode(made, now=NOW - 1)
    assert decode(made, now=NOW + 59, leeway=60)
    for now, leeway in ((NOW, 0), (NOW + 1, 0), (NOW + 60, 60), (NOW + 61, 60), (NOW + 10**9, 300)):
        with refused("expired", claim="exp"):
            decode(made, now=now, leeway=leeway)
    assert decode(token(exp=NOW + 0.5), now=NOW)
    with refused("expired", claim="exp"):
        decode(token(exp=NOW - 0.5), now=NOW)
    with refused("expired", claim="exp"):
        decode(token(exp=0))


@pytest.mark.spec("J09", "RFC 7519 §4.1.5")
def test_nbf_is_honoured_with_leeway() -> None:
    made = token(nbf=NOW, exp=NOW + 900)
    assert decode(made, now=NOW)
    assert decode(made, now=NOW - 60, leeway=60)
    assert decode(token(nbf=...))
    for now, leeway in ((NOW - 1, 0), (NOW - 61, 60)):
        with refused("not_yet_valid", claim="nbf"):
            decode(made, now=now, leeway=leeway)


@pytest.mark.spec("J09", "RFC 7519 §4.1.6")
def test_iat_is_typed_but_never_decides() -> None:
    for iat in (..., 0, NOW, NOW + 10**6, 1.5):
        assert decode(token(iat=iat))


@pytest.mark.spec("J09", "RFC 7519 §2")
@pytest.mark.parametrize("value", ["1700000300", "", None, True, False, -1, -0.5, [NOW], {}, {"n": 1}])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_date_is_a_finite_number_not_below_zero(name: str, value: Any) -> None:
    assert decode(token())
    with refused("bad_claim", claim=name):
        decode(token(**{name: value}))


@pytest.mark.spec("J09")
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 9999])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_number_out_of_range_is_refused(name: str, number: str) -> None:
    payload = json.dumps(claims()).replace("{", f'{{"{name}x": 0, ', 1)
    assert decode(raw_token(payload))
    with refused("malformed"):
        decode(raw_token(json.dumps(claims(**{name: ...}))[:-1] + f', "{name}": {number}}}'))


@pytest.mark.spec("J09")
def test_huge_but_finite_dates_are_only_dates() -> None:
    for exp in (10**30, 1e300, 2**63, 2**64 + 1):
        assert decode(token(exp=exp), leeway=300)
    with refused("not_yet_valid", claim="nbf"):
        decode(token(nbf=10**30), leeway=300)


@pytest.mark.spec("J09")
@pytest.mark.parametrize("leeway", [-1, 301, 10**9])
def test_leeway_is_bounded(leeway: int) -> None:
    for good in (0, jwt.MAX_LEEWAY):
        assert decode(token(), leeway=good)
    with pytest.raises(ValueError):
        decode(token(), leeway=leeway)


@pytest.mark.spec("J08", "J09", "J10")
def test_judge_applies_the_same_rules_to_what_was_verified_before() -> None:
    verified = jws.verify(token(), keys())
    asked: dict[str, Any] = {"typ": "at+jwt", "issuer": ISSUER, "audience": AUDIENCE, "now": NOW}
    assert jwt.judge(verified, **asked) == claims()
    for changed, code, claim in (
        ({"typ": "JWT"}, "wrong_type", None), ({"issuer": "x"}, "wrong_issuer", "iss"), ({"audience": "x"}, "wrong_audience", "aud"),
        ({"now": NOW + 300}, "expired", "exp"), ({"now": NOW - 1}, "not_yet_valid", "nbf"),
    ):  # fmt: skip
        with refused(code, claim=claim):
            jwt.judge(verified, **(asked | changed))


def test_encode_takes_any_mapping_and_refuses_what_json_cannot_say() -> None:
    from types import MappingProxyType

    made = jwt.encode(MappingProxyType(claims()), key("HS256"), typ="at+jwt")
    assert decode(made) == claims()
    assert jws.verify(made, keys()).payload == json.dumps(claims(), separators=(",", ":")).encode()
    with pytest.raises(ValueError):
        jwt.encode(claims(exp=float("nan")), key("HS256"), typ="at+jwt")
