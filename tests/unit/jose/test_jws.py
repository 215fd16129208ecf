import json
import socket
import threading
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.jose.jose_keys import ALL, SECRET, forge, key, keys, outcome, refused

from mintmark.jose import base64url, jwk, jws
from mintmark.jose.algorithms import ALGORITHMS, Algorithm

TOKENS = {alg: jws.sign(b'{"a":1}', key(alg), typ="at+jwt") for alg in ALL}
URL_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


CRITICAL: list[Any] = [["exp"], [], None, "exp", {}, 1, ["b64"], [""], ["alg"], False]


def header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(base64url.decode(token.split(".", 1)[0])))


@pytest.mark.spec("J06", "J07", "RFC 7515 §5")
@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=15, deadline=None)
@given(payload=st.binary(max_size=300), typ=st.none() | st.sampled_from(["JWT", "at+jwt", "é"]))
def test_round_trip(alg: Algorithm, payload: bytes, typ: str | None) -> None:
    token = jws.sign(payload, key(alg), typ=typ)
    for source in (key(alg), keys()):
        verified = jws.verify(token, source)
        assert (verified.payload, verified.key) == (payload, key(alg))
        expected = {"alg": alg, "kid": key(alg).kid} | ({} if typ is None else {"typ": typ})
        assert dict(verified.header) == expected == header_of(token)


@pytest.mark.parametrize("alg", ALL)
def test_the_signature_alone_may_run_elsewhere(alg: Algorithm) -> None:
    message = jws.signing_input(b"payload", key(alg), "JWT")
    made: list[bytes] = []
    worker = threading.Thread(target=lambda: made.append(jws.sign_input(key(alg), message)))
    worker.start()
    worker.join()
    token = jws.assemble(message, made[0])
    assert jws.verify(token, keys()).payload == b"payload"
    assert message == token.rpartition(".")[0].encode()


@pytest.mark.spec("J06", "J07")
@pytest.mark.parametrize("alg", ALL)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_character_is_refused(alg: Algorithm, data: st.DataObject) -> None:
    token = TOKENS[alg]
    assert outcome(jws.verify, token, keys()) == "accepted"
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(URL_ALPHABET + ".=+/ ") | st.characters())
    mutated = [
        token[:place] + other + token[place + 1 :],
        token[:place] + other + token[place:],
        token[:place] + token[place + 1 :],
    ]
    for one in mutated:
        assert (outcome(jws.verify, one, keys()) == "accepted") == (one == token)


@pytest.mark.spec("J06", "J07")
@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "HS256"])
def test_any_flipped_bit_is_refused(alg: Algorithm) -> None:
    raw = TOKENS[alg].encode()
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        text = flipped.decode("latin-1")
        assert outcome(jws.verify, text, keys()) != "accepted"
    jws.verify(raw.decode(), keys())


@pytest.mark.spec("J06")
@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60)
    | st.text(URL_ALPHABET + ".", max_size=80)
    | st.tuples(*[st.text(max_size=20) | st.binary(max_size=30).map(base64url.encode)] * 3).map(".".join)
    | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "x"]), st.sampled_from(["ES256", "es", 1, None, []]))
    .map(lambda header: base64url.encode(json.dumps(header).encode()) + ".e30.AAAA")
)  # fmt: skip
def test_garbage_only_ever_raises_our_error(text: str) -> None:
    for source in (keys(), key("ES256")):
        assert outcome(jws.verify, text, source) != "accepted"


@pytest.mark.spec("J06", "RFC 7515 §7.1", "RFC 7515 §3")
def test_exactly_three_parts_none_of_header_and_signature_empty() -> None:
    good = TOKENS["ES256"]
    header, payload, signature = good.split(".")
    jws.verify(good, keys())
    assert jws.verify(jws.sign(b"", key("ES256"), typ=None), keys()).payload == b""
    for bad in (
        "", ".", "..", "...", header, f"{header}.{payload}", f"{good}.", f".{good}", f"{good}.{signature}", f"{good}.a.b",
        f".{payload}.{signature}", f"{header}.{payload}.", f"{header}..{payload}.{signature}", f"Bearer {good}",
        json.dumps({"protected": header, "payload": payload, "signature": signature}),
        json.dumps({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}),
    ):  # fmt: skip
        with refused("malformed"):
            jws.verify(bad, keys())
    # A detached payload is another payload.
    with refused("bad_signature"):
        jws.verify(f"{header}..{signature}", keys())


@pytest.mark.spec("J06", "RFC 7515 §2")
def test_no_padding_no_white_space_no_stray_bits_in_any_part() -> None:
    parts = TOKENS["ES256"].split(".")
    for number, part in enumerate(parts):
        for bad in (
            part + "=",
            part + "==",
            part + " ",
            " " + part,
            part + "\n",
            part[:5] + "\n" + part[5:],
            part + "é",
            part + "A" * 5,
        ):
            changed = ".".join([*parts[:number], bad, *parts[number + 1 :]])
            assert outcome(jws.verify, changed, keys()) in ("malformed", "bad_signature")
    # The signature is over the text, so a stray bit inside a signed part has to be refused by form.
    message = f"{parts[0]}.eyJhIjoxfR".encode()
    assert base64url.encode(b'{"a":1}') == "eyJhIjoxfQ"
    with refused("malformed"):
        jws.verify(jws.assemble(message, jws.sign_input(key("ES256"), message)), keys())


@pytest.mark.spec("J06")
def test_the_size_is_checked_first() -> None:
    token = jws.sign(bytes(1000), key("HS256"), typ=None)
    assert jws.verify(token, keys(), max_bytes=len(token)).payload == bytes(1000)
    with refused("too_large"):
        jws.verify(token, keys(), max_bytes=len(token) - 1)
    for bad in ("x" * 16385, "é" * 16385, "." * 10**6):
        with refused("too_large"):
            jws.verify(bad, keys())
    with refused("malformed"):
        jws.verify("x" * 16384, keys())


@pytest.mark.spec("J06")
@pytest.mark.parametrize(
    "raw",
    [
        b'{"alg":"ES256","kid":"es","alg":"ES256"}', b'{"alg":"none","alg":"ES256","kid":"es"}', b'{"kid":"rs","alg":"ES256","kid":"es"}',
        b'{"alg":"ES256","kid":"es","\\u0061lg":"ES256"}', b'{"alg":"ES256","kid":"es","x":{"y":1,"y":2}}',
        b'[{"alg":"ES256","kid":"es"}]', b'"ES256"', b"null", b"", b'{"alg":"ES256","kid":"es"}{}', b'{"alg":"ES256","kid":"es"',
        b'{"alg":"ES256","kid":"es","x":NaN}', b'\xef\xbb\xbf{"alg":"ES256","kid":"es"}', b'{"alg":"ES256","kid":"es","x":"\xff"}',
        b'{"alg":"ES256","kid":"es","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)  # fmt: skip
def test_the_header_is_one_object_without_repeated_names(raw: bytes) -> None:
    jws.verify(forge(b' {"kid":"es", "alg":"ES256", "x":{"alg":"none"}}', b"{}", key("ES256")), keys())
    with refused("malformed"):
        jws.verify(forge(raw, b"{}", key("ES256")), keys())


@pytest.mark.spec("J02", "RFC 8725 §3.2")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", " none", "none ", "noneES256", "ES256 ", "es256"])
def test_none_is_refused_in_any_casing(alg: str) -> None:
    jws.verify(forge({"alg": "ES256", "kid": "es"}, b"{}", key("ES256")), keys())
    token = forge({"alg": alg, "kid": "es"}, b"{}", key("ES256"))
    for source in (keys(), key("ES256")):
        with refused("unsupported_alg"):
            jws.verify(token, source)
        with refused("malformed"):
            jws.verify(token.rpartition(".")[0] + ".", source)


@pytest.mark.spec("J02", "J06")
@pytest.mark.parametrize("alg", [None, 0, True, [], ["ES256"], {}, ...])
def test_alg_is_a_text(alg: Any) -> None:
    header = {"kid": "es"} if alg is ... else {"kid": "es", "alg": alg}
    with refused("malformed"):
        jws.verify(forge(header, b"{}", key("ES256")), keys())


@pytest.mark.spec("J01", "RFC 8725 §3.1")
@pytest.mark.parametrize("alg", ["PS256", "RS384", "RS512", "HS256", "ES256", "EdDSA", "RS1", "none"])
def test_an_rs256_key_is_used_for_rs256_only(alg: str) -> None:
    public = jwk.KeySet([jwk.from_jwk(key("RS256").public_jwk())])
    jws.verify(TOKENS["RS256"], public)
    pem: Any = key("RS256").verifying
    numbers = pem.public_numbers()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    secrets = [
        pem.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        pem.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        numbers.n.to_bytes(256, "big"),
        base64url.encode_bytes(numbers.n.to_bytes(256, "big")),
        json.dumps(key("RS256").public_jwk()).encode(),
    ]
    signers = [key("PS256"), key("RS256"), *(jwk.symmetric(secret, kid="rs") for secret in secrets)]
    for signer in signers:
        with refused("unsupported_alg"):
            jws.verify(forge({"alg": alg, "kid": "rs"}, b"{}", signer), public)


@pytest.mark.spec("J01")
@pytest.mark.parametrize("alg", ALL)
def test_no_key_serves_another_algorithm(alg: Algorithm) -> None:
    for other in ALL:
        if other != alg:
            with refused("unsupported_alg"):
                jws.verify(forge({"alg": other, "kid": key(alg).kid}, b"{}", key(alg)), keys())
            with refused("bad_signature"):
                jws.verify(forge({"alg": alg, "kid": key(alg).kid}, b"{}", key(other)), keys())


@pytest.mark.spec("J05", "RFC 7515 §4.1.11", "RFC 7797 §6")
@pytest.mark.parametrize(
    "extra",
    [
        *({"crit": value} for value in CRITICAL),
        {"b64": False},
        {"b64": True},
        {"b64": None},
        {"b64": False, "crit": ["b64"]},
        {"crit": ["x"], "x": 1},
    ],
)
def test_critical_extensions_are_refused(extra: dict[str, Any]) -> None:
    base = {"alg": "ES256", "kid": "es"}
    # What is not critical and not known is ignored (RFC 7515 §4).
    assert jws.verify(forge(base | {"x": 1, "cty": "x", "Crit": []}, b"{}", key("ES256")), keys()).header["x"] == 1
    with refused("unsupported_crit"):
        jws.verify(forge(base | extra, b"{}", key("ES256")), keys())


@pytest.mark.spec("J03", "RFC 8725 §3.10")
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_header_never_brings_a_key_nor_causes_a_fetch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = jwk.generate("ES256", kid="es")

    def no_network(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_network)
    values: list[Any] = [evil.public_jwk(), "http://127.0.0.1:9/jwks.json", ["MIIB"], None, ""]
    for value in values:
        for signer in (evil, key("ES256")):
            extras: list[dict[str, Any]] = [{"kid": "es"}, {}]
            for extra in extras:
                token = forge({"alg": "ES256", name: value} | extra, b"{}", signer)
                for source in (keys(), key("ES256")):
                    with refused("malformed"):
                        jws.verify(token, source)


@pytest.mark.spec("J04")
@pytest.mark.parametrize(
    "kid",
    ["../../dev/null", "' or 1=1 --", "/etc/passwd", "es\x00", "es\r\nX: y", "ES", " es", "es ", "", "é", "%65s", "e"],
)
def test_kid_is_only_looked_up(kid: str) -> None:
    jws.verify(forge({"alg": "ES256", "kid": "es"}, b"{}", key("ES256")), keys())
    token = forge({"alg": "ES256", "kid": kid}, b"{}", key("ES256"))
    for source in (keys(), key("ES256")):
        with refused("unknown_key"):
            jws.verify(token, source)


@pytest.mark.spec("J04")
def test_kid_is_a_short_text() -> None:
    long = jwk.generate("ES256", kid="x" * 256)
    jws.verify(jws.sign(b"x", long, typ=None), long)
    for kid in ("x" * 257, "x" * 5000, None, 1, True, ["es"], {"es": 1}):
        with refused("malformed"):
            jws.verify(forge({"alg": "ES256", "kid": kid}, b"{}", key("ES256")), keys())
    with refused("too_large"):
        jws.verify(forge({"alg": "ES256", "kid": "x" * 10**6}, b"{}", key("ES256")), keys())


@pytest.mark.spec("J04")
def test_without_kid_only_a_single_key_serves() -> None:
    token = forge({"alg": "ES256"}, b"{}", key("ES256"))
    assert jws.verify(token, key("ES256")).key is key("ES256")
    for source in (keys(), jwk.KeySet([key("ES256")]), jwk.KeySet()):
        with refused("unknown_key"):
            jws.verify(token, source)


@pytest.mark.spec("J06")
@pytest.mark.parametrize("typ", [None, 1, [], {}])
def test_typ_is_a_text(typ: Any) -> None:
    with refused("malformed"):
        jws.verify(forge({"alg": "ES256", "kid": "es", "typ": typ}, b"{}", key("ES256")), keys())


@pytest.mark.spec("J07")
def test_the_payload_is_not_read_before_the_signature_held() -> None:
    header, _, signature = TOKENS["ES256"].split(".")
    with refused("bad_signature"):
        jws.verify(f"{header}.!not base64url!.{signature}", keys())


@pytest.mark.spec("J06")
def test_who_cannot_sign_cannot_grow_the_store_of_headers() -> None:
    source = jwk.KeySet([key("ES256")])
    bad = base64url.encode(bytes(64))
    for number in range(200):
        header = base64url.encode(json.dumps({"alg": "ES256", "kid": "es", "n": str(number)}).encode())
        with refused("bad_signature"):
            jws.verify(f"{header}.e30.{bad}", source)
    assert len(source.verified_headers) == 0
    for number in range(200):
        jws.verify(forge({"alg": "ES256", "kid": "es", "n": str(number)}, b"{}", key("ES256")), source)
    assert 0 < len(source.verified_headers) <= 64
    before = dict(source.verified_headers)
    extras: list[dict[str, Any]] = [{"long": "x" * 2000}, {"nested": {"a": []}}]
    for extra in extras:
        jws.verify(forge({"alg": "ES256", "kid": "es"} | extra, b"{}", key("ES256")), source)
    assert source.verified_headers == before


@pytest.mark.spec("J06", "J07")
def test_a_kept_header_changes_nothing() -> None:
    source = jwk.KeySet([key("ES256"), key("EdDSA")])
    for _ in range(3):
        assert jws.verify(TOKENS["ES256"], source).key is key("ES256")
        header, payload, signature = TOKENS["ES256"].split(".")
        with refused("bad_signature"):
            jws.verify(f"{header}.{payload}x.{signature}", source)
        with refused("unknown_key"):
            jws.verify(TOKENS["ES256"], jwk.KeySet([key("EdDSA")]))
    shown = jws.verify(TOKENS["ES256"], source).header
    assert isinstance(shown, MappingProxyType)
    with pytest.raises(TypeError):
        shown["kid"] = "ed"  # type: ignore[index]


def test_encoded_headers_are_kept_per_type_and_bounded() -> None:
    one = jwk.symmetric(SECRET, kid="k")
    for number in range(200):
        jws.signing_input(b"", one, f"t{number}")
        assert len(one.encoded_headers) <= 64
    assert header_of(jws.sign(b"", one, typ="t199")) == {"alg": "HS256", "kid": "k", "typ": "t199"}
    assert header_of(jws.sign(b"", one, typ=None)) == {"alg": "HS256", "kid": "k"}


def test_every_algorithm_has_its_scheme() -> None:
    assert set(ALGORITHMS) == set(ALL)
