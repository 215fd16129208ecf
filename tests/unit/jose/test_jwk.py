from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.jose.jose_keys import ALL, SECRET, key, keys, refused

from mintmark.jose import base64url, jwk, jws, key_material
from mintmark.jose.algorithms import Algorithm

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
ASYMMETRIC: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")


def uint(number: int, *, zeros: int = 0) -> str:
    return base64url.encode(bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big"))


def changed(of: Algorithm, /, **members: Any) -> dict[str, Any]:
    """The public JWK of a good key, private with `private=True`, members replaced; `...` removes one."""
    good: dict[str, Any] = dict(key(of).private_jwk() if members.pop("private", False) else key(of).public_jwk())
    return {name: value for name, value in (good | members).items() if value is not ...}


@pytest.mark.spec("K01", "J11")
@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_generated_keys_are_strong_and_their_public_form_is_public(alg: Algorithm) -> None:
    public = key(alg).public_jwk()
    assert list(public)[:4] == ["kty", "use", "alg", "kid"]
    assert (public["use"], public["alg"], public["kid"]) == ("sig", alg, key(alg).kid)
    assert not PRIVATE & set(public)
    if public["kty"] == "RSA":
        assert public["e"] == "AQAB"
        assert len(base64url.decode(public["n"])) == 256


@pytest.mark.spec("RFC 7638 §3", "K01")
@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_a_generated_kid_is_the_thumbprint_unless_named(alg: Algorithm) -> None:
    made = jwk.generate(alg)
    assert made.kid == jwk.thumbprint(made.public_jwk()) == jwk.thumbprint(made.private_jwk())
    assert len(made.kid) == 43
    assert jwk.generate(alg, kid="mine").kid == "mine"
    assert jwk.generate(alg).kid != made.kid


@pytest.mark.spec("J11")
def test_no_secret_is_generated_here() -> None:
    with refused("unsupported_alg"):
        jwk.generate("HS256")
    with refused("unsupported_alg"):
        jwk.generate("none")  # type: ignore[arg-type]


@pytest.mark.spec("K01")
@pytest.mark.parametrize("alg", ALL)
def test_a_private_key_survives_a_round_trip(alg: Algorithm) -> None:
    again = jwk.from_jwk(key(alg).private_jwk())
    assert again.can_sign
    assert (again.kid, again.alg) == (key(alg).kid, alg)
    assert again.private_jwk() == key(alg).private_jwk()
    assert jws.verify(jws.sign(b"x", again, typ=None), key(alg)).payload == b"x"


@pytest.mark.parametrize("alg", ASYMMETRIC)
def test_a_public_key_verifies_and_cannot_sign(alg: Algorithm) -> None:
    public = jwk.from_jwk(key(alg).public_jwk())
    assert not public.can_sign
    assert jws.verify(jws.sign(b"x", key(alg), typ=None), public).payload == b"x"
    with refused("bad_key"):
        jws.sign(b"x", public, typ=None)
    with refused("bad_key"):
        public.private_jwk()


@pytest.mark.spec("J11", "RFC 7518 §3.2")
def test_a_secret_is_long_and_has_no_public_form() -> None:
    assert jwk.symmetric(SECRET, kid="k").can_sign
    for secret in (b"", b"password", bytes(31), bytes(1025)):
        with refused("bad_key"):
            jwk.symmetric(secret, kid="k")
        with refused("bad_key"):
            jwk.from_jwk({"kty": "oct", "alg": "HS256", "kid": "k", "k": base64url.encode(secret)})
    with refused("bad_key"):
        key("HS256").public_jwk()
    with refused("bad_key"):
        jwk.from_jwk({"kty": "oct", "alg": "HS256", "k": base64url.encode(SECRET)})


@pytest.mark.spec("J04")
@pytest.mark.parametrize("kid", ["", "x" * 257, None, 1, ["a"], "\ud800"])
def test_a_kid_is_a_short_text(kid: Any) -> None:
    assert jwk.from_jwk(changed("ES256", kid="x" * 256)).kid == "x" * 256
    assert jwk.from_jwk(changed("ES256", kid=...)).kid == jwk.thumbprint(key("ES256").public_jwk())
    with refused("bad_key"):
        jwk.from_jwk(changed("ES256", kid=kid))
    if kid is not None:
        with refused("bad_key"):
            jwk.generate("ES256", kid=kid)


@pytest.mark.spec("J01", "RFC 8725 §3.1")
def test_the_algorithm_is_pinned_and_both_sources_agree() -> None:
    assert jwk.from_jwk(changed("RS256")).alg == "RS256"
    assert jwk.from_jwk(changed("RS256"), alg="RS256").alg == "RS256"
    assert jwk.from_jwk(changed("RS256", alg=...), alg="PS256").alg == "PS256"
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256"), alg="PS256")
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", alg=...))


@pytest.mark.spec("J01", "J02", "J11")
@pytest.mark.parametrize(
    "alg", ["none", "None", "", "RS512", "RS1", "ES384", "rs256", "HS512", "RSA-OAEP", "Ed448", 1, ["RS256"], {}]
)
def test_other_algorithms_are_refused(alg: Any) -> None:
    jwk.from_jwk(changed("RS256"))
    with refused("unsupported_alg"):
        jwk.from_jwk(changed("RS256", alg=alg))


@pytest.mark.spec("J01", "J11")
@pytest.mark.parametrize(
    ("material", "alg"),
    [("RS256", "ES256"), ("RS256", "HS256"), ("RS256", "EdDSA"), ("ES256", "RS256"), ("ES256", "EdDSA"), ("EdDSA", "ES256"),
     ("EdDSA", "HS256"), ("ES256", "HS256")],
)  # fmt: skip
def test_the_key_type_suits_the_algorithm(material: Algorithm, alg: Algorithm) -> None:
    jwk.from_jwk(changed(material, alg=...), alg=material)
    with refused("bad_key"):
        jwk.from_jwk(changed(material, alg=alg))
    with refused("bad_key"):
        jwk.from_jwk(changed(material, alg=...), alg=alg)


@pytest.mark.spec("J11", "RFC 7517 §4.2")
@pytest.mark.parametrize("use", ["enc", "", "SIG", None, 1, ["sig"]])
def test_another_use_is_refused(use: Any) -> None:
    jwk.from_jwk(changed("ES256", use="sig"))
    jwk.from_jwk(changed("ES256", use=...))
    with refused("bad_key"):
        jwk.from_jwk(changed("ES256", use=use))


@pytest.mark.spec("J11", "RFC 7517 §4.3")
def test_key_ops_are_honoured() -> None:
    jwk.from_jwk(changed("ES256", key_ops=["verify"]))
    assert jwk.from_jwk(changed("ES256", private=True, key_ops=["sign"])).can_sign
    assert jwk.from_jwk(changed("ES256", private=True, key_ops=["sign", "verify"])).can_sign
    secret: dict[str, Any] = dict(key("HS256").private_jwk())
    assert jwk.from_jwk(secret | {"key_ops": ["verify", "sign"]}).can_sign
    for private, operations in (
        (False, ["sign"]), (True, ["verify"]), (False, []), (False, ["encrypt"]), (False, ["verify", "encrypt"]),
        (False, ["verify", "verify"]), (False, "verify"), (False, None), (False, {"verify": 1}), (False, [["verify"]]),
        (False, ["Verify"]), (True, ["deriveKey", "sign"]),
    ):  # fmt: skip
        with refused("bad_key"):
            jwk.from_jwk(changed("ES256", private=private, key_ops=operations))
    for one in ("sign", "verify"):
        with refused("bad_key"):
            jwk.from_jwk(secret | {"key_ops": [one]})


def modulus(bits: int) -> int:
    """An odd number of so many bits: public keys are judged by size, not factored."""
    return (1 << (bits - 1)) | (int.from_bytes(b"\xa5" * (bits // 8 - 1), "big") >> 1) | 1


@pytest.mark.spec("J11", "K01", "RFC 7518 §3.3")
@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047, 8193, 8200, 16384])
def test_an_rsa_key_has_2048_to_8192_bits(bits: int) -> None:
    for good in (2048, 3072, 4096, 8192):
        jwk.from_jwk(changed("RS256", n=uint(modulus(good))))
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", n=uint(modulus(bits) if bits % 8 == 0 else (1 << (bits - 1)) | 1)))


@pytest.mark.spec("J11")
@pytest.mark.parametrize("exponent", [1, 2, 3, 5, 17, 257, 65535, 65536, 65538, 2**64, 2**64 + 1, 2**2047 + 1])
def test_weak_exponents_are_refused(exponent: int) -> None:
    for good in (65537, 65539, 2**32 + 1, 2**64 - 1):
        jwk.from_jwk(changed("RS256", n=uint(modulus(2048)), e=uint(good)))
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", e=uint(exponent)))


@pytest.mark.spec("J11")
def test_an_even_modulus_and_zeros_are_refused() -> None:
    for members in ({"n": uint(modulus(2048) + 1)}, {"n": "AA"}, {"e": "AA"}, {"n": "", "e": ""}, {"e": ""}):
        with refused("bad_key"):
            jwk.from_jwk(changed("RS256", **members))


@pytest.mark.spec("J11", "RFC 7518 §2", "RFC 7518 §6.3.1.1")
def test_numbers_have_no_leading_zeros() -> None:
    n = int.from_bytes(base64url.decode(key("RS256").public_jwk()["n"]), "big")
    jwk.from_jwk(changed("RS256", n=uint(n)))
    for members in ({"n": uint(n, zeros=1)}, {"e": uint(65537, zeros=1)}, {"e": "AAEAAQ"}):
        with refused("bad_key"):
            jwk.from_jwk(changed("RS256", **members))
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", private=True, d="AA" + key("RS256").private_jwk()["d"]))


@pytest.mark.spec("J06", "J11")
@pytest.mark.parametrize(
    "bad",
    [..., None, 1, "", "=", "A", "AQAB=", "AQ AB", "AQAB\n", "+/+/", ["AQAB"], {}, True, b"AQAB", "A" * 1367, "é"],
)
@pytest.mark.parametrize(
    ("alg", "name"), [("RS256", "n"), ("RS256", "e"), ("ES256", "x"), ("ES256", "y"), ("EdDSA", "x")]
)
def test_members_are_strict_base64url_text_of_a_bounded_size(alg: Algorithm, name: str, bad: Any) -> None:
    jwk.from_jwk(changed(alg))
    with refused("bad_key"):
        jwk.from_jwk(changed(alg, **{name: bad}))


@pytest.mark.spec("J11")
@pytest.mark.parametrize("name", ["p", "q", "dp", "dq", "qi", "d"])
def test_a_private_rsa_key_is_whole_and_consistent(name: str) -> None:
    good = key("RS256").private_jwk()
    assert jwk.from_jwk(good).can_sign
    with refused("bad_key"):
        jwk.from_jwk({one: value for one, value in good.items() if one != name})
    wrong = int.from_bytes(base64url.decode(good[name]), "big") - 2
    with refused("bad_key"):
        jwk.from_jwk(good | {name: uint(wrong)})


@pytest.mark.spec("J11")
def test_a_private_rsa_key_has_two_primes_and_its_own_modulus() -> None:
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", private=True, oth=[]))
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", private=True, n=uint(modulus(2048))))


@pytest.mark.spec("J11", "RFC 7518 §6.2")
def test_a_point_lies_on_its_curve_and_belongs_to_its_private_key() -> None:
    good = key("ES256").private_jwk()
    other = jwk.generate("ES256").private_jwk()
    x = base64url.decode(good["x"])
    zero, field = bytes(32), 2**256 - 2**224 + 2**192 + 2**96 - 1
    for members in (
        {"x": other["x"]}, {"y": other["y"]}, {"x": good["y"], "y": good["x"]}, {"x": base64url.encode(zero), "y": base64url.encode(zero)},
        {"x": base64url.encode(bytes([x[0] ^ 1]) + x[1:])}, {"x": base64url.encode(b"\x00" + x)}, {"x": base64url.encode(x[1:])},
        {"x": uint(field)}, {"x": uint(2**256 - 1)}, {"crv": "P-384"}, {"crv": "secp256k1"}, {"crv": ...}, {"crv": ["P-256"]},
    ):  # fmt: skip
        with refused("bad_key"):
            jwk.from_jwk(changed("ES256", **members))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for d in (
        other["d"],
        base64url.encode(zero),
        uint(order),
        uint(2**256 - 1),
        base64url.encode(b"\x00" * 33),
        "",
        None,
        "AQ",
    ):
        with refused("bad_key"):
            jwk.from_jwk(good | {"d": d})


@pytest.mark.spec("J11", "RFC 8037 §2")
def test_an_ed25519_key_is_whole_and_of_full_order() -> None:
    good = key("EdDSA").private_jwk()
    assert jwk.from_jwk(good).can_sign
    for d in (jwk.generate("EdDSA").private_jwk()["d"], "AQ", "", None):
        with refused("bad_key"):
            jwk.from_jwk(good | {"d": d})
    for crv in ("X25519", "Ed448", "P-256", ..., None):
        with refused("bad_key"):
            jwk.from_jwk(changed("EdDSA", crv=crv))


def _small_order_encodings() -> list[bytes]:
    """Every encoding of a point of order 1, 2, 4 or 8, the spellings beyond the field included."""
    field = 2**255 - 19
    spelled = [y + shift for y in key_material._SMALL_ORDER_Y for shift in (0, field) if y + shift < 2**255]
    return [(y | sign << 255).to_bytes(32, "little") for y in spelled for sign in (0, 1)]


@pytest.mark.spec("J11")
@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_material_is_judged_whatever_the_algorithm(alg: Algorithm) -> None:
    assert key_material.load(changed(alg))[1] is None
    for crv in ("P-521", "X25519", ..., None):
        with refused("bad_key"):
            key_material.load(changed(alg, crv=crv))


@pytest.mark.spec("J11", "RFC 8032 §5.1")
def test_points_of_small_order_are_refused() -> None:
    field = 2**255 - 19
    d = -121665 * pow(121666, -1, field) % field
    encodings = _small_order_encodings()
    assert len(encodings) == 14
    for y in key_material._SMALL_ORDER_Y:
        # On the curve -x² + y² = 1 + d x² y² doubling thrice reaches the neutral element: y runs to 1.
        for _ in range(3):
            x_squared = (y * y - 1) * pow(d * y * y + 1, -1, field) % field
            y = (y * y + x_squared) * pow(1 - d * x_squared * y * y, -1, field) % field  # noqa: PLW2901
        assert y == 1
    for encoding in encodings:
        with refused("bad_key"):
            jwk.from_jwk({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": base64url.encode(encoding)})


@pytest.mark.parametrize("kty", [..., None, "", "rsa", "DSA", 1, ["RSA"], {}])
def test_an_unknown_key_type_is_refused(kty: Any) -> None:
    for attempt in (jwk.from_jwk, jwk.thumbprint, key_material.load):
        with refused("bad_key"):
            attempt(changed("RS256", kty=kty))


def test_private_members_without_the_exponent_and_too_many_members_are_refused() -> None:
    with refused("bad_key"):
        jwk.from_jwk(changed("RS256", private=True, d=...))
    jwk.from_jwk(changed("ES256", **{f"x{number}": 1 for number in range(50)}))
    with refused("bad_key"):
        jwk.from_jwk(changed("ES256", **{f"x{number}": 1 for number in range(60)}))


@pytest.mark.spec("RFC 7638 §3.2")
def test_a_thumbprint_needs_its_members_as_text() -> None:
    public = key("ES256").public_jwk()
    assert jwk.thumbprint({"k": "AA", "kty": "oct"}) != jwk.thumbprint({"k": "AQ", "kty": "oct"})
    assert jwk.thumbprint(public) == jwk.thumbprint({name: public[name] for name in ("y", "x", "kty", "crv")})
    for name in ("x", "y", "crv"):
        for value in (..., None, 1, ["A"]):
            with refused("bad_key"):
                jwk.thumbprint(changed("ES256", **{name: value}))


@pytest.mark.spec("K01", "J11", "RFC 7517 §5")
def test_a_set_skips_what_it_cannot_use() -> None:
    good = changed("ES256")
    useless: list[Any] = [
        changed("ES256", use="enc"), changed("ES256", alg="ES512"), changed("ES256", alg=...), changed("RS256", e="Aw"),
        changed("ES256", kid=""), {"kty": "EC"}, {}, {"kty": "new"}, None, 1, "x", [], key("HS256").private_jwk(),
    ]  # fmt: skip
    loaded = jwk.KeySet.from_jwks({"keys": [*useless, good, *useless], "other": 1})
    assert list(loaded) == ["es"]
    assert len(loaded) == 1
    assert loaded.public_jwks() == {"keys": [good]}
    assert not jwk.KeySet.from_jwks({"keys": []})


@pytest.mark.spec("K01", "J01")
def test_a_set_may_be_limited_to_an_algorithm() -> None:
    document = {"keys": [changed("ES256"), changed("RS256", alg=...), changed("PS256")]}
    assert list(jwk.KeySet.from_jwks(document)) == ["es", "ps"]
    assert list(jwk.KeySet.from_jwks(document, alg="RS256")) == ["rs"]


@pytest.mark.spec("K01")
def test_a_kid_occurs_once_in_a_set() -> None:
    assert len(jwk.KeySet.from_jwks({"keys": [changed("ES256"), changed("EdDSA")]})) == 2
    with refused("bad_key"):
        jwk.KeySet.from_jwks({"keys": [changed("ES256"), changed("EdDSA", kid="es")]})
    with refused("bad_key"):
        jwk.KeySet([key("ES256"), key("ES256")])


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"Keys": []}])
def test_a_set_is_a_list_of_keys(document: dict[str, Any]) -> None:
    with refused("malformed"):
        jwk.KeySet.from_jwks(document)
    with refused("too_large"):
        jwk.KeySet.from_jwks({"keys": [{}] * (jwk.MAX_KEYS + 1)})
    assert not jwk.KeySet.from_jwks({"keys": [{}] * jwk.MAX_KEYS})


@pytest.mark.spec("K01")
def test_a_set_publishes_public_members_only_and_is_read_only() -> None:
    published = keys().public_jwks()
    assert [one["kid"] for one in published["keys"]] == ["rs", "ps", "es", "ed"]
    assert not any(PRIVATE & set(one) for one in published["keys"])
    assert keys().get("rs") is key("RS256")
    assert keys().get("nobody") is None
    with pytest.raises(TypeError):
        keys()["new"] = key("RS256")  # type: ignore[index]
    with pytest.raises(AttributeError):
        key("RS256").alg = "HS256"  # type: ignore[misc]


@pytest.mark.spec("K01")
def test_a_published_copy_is_the_callers_own() -> None:
    key("ES256").public_jwk()["kid"] = "changed"
    assert key("ES256").public_jwk()["kid"] == "es"


def test_generated_rsa_is_what_it_says() -> None:
    private = key("RS256").signing
    assert isinstance(private, rsa.RSAPrivateKey)
    assert (private.key_size, private.public_key().public_numbers().e) == (2048, 65537)
