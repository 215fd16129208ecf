"""RFC 7515 appendix A: the example tokens, in both directions, and the forms we refuse."""

from typing import Any, Final

import pytest

from mintmark.jose import jwk, jws, jwt
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.errors import JoseError

PAYLOAD: Final = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
CLAIMS: Final = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}

KEY_A1: Final = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    # The RFC's key has none; ours need one.
    "kid": "a1",
}
TOKEN_A1: Final = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

KEY_A2: Final = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
    "d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "p": "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "q": "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "dp": "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "dq": "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "qi": "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
}
TOKEN_A2: Final = (
    f"eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU"
    "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d"
    "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig"
    "cN_IoypGlUPQGe77Rw"
)

KEY_A3: Final = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
TOKEN_A3: Final = (
    f"eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
TOKEN_A4: Final = (
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA."
    "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJ"
    "ZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)

TOKEN_E: Final = (
    "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9"
    "VTkRFRklORUQiOnRydWUNCn0.RkFJTA.AAAA"
)

EXAMPLES: Final[list[tuple[dict[str, str], Algorithm, str]]] = [
    (KEY_A1, "HS256", TOKEN_A1),
    (KEY_A2, "RS256", TOKEN_A2),
    (KEY_A3, "ES256", TOKEN_A3),
]


@pytest.mark.spec("RFC 7515 §A.1", "RFC 7515 §A.2", "RFC 7515 §A.3", "J06")
@pytest.mark.parametrize(("key", "alg", "token"), EXAMPLES)
def test_the_example_verifies_and_a_changed_one_does_not(key: dict[str, str], alg: Algorithm, token: str) -> None:
    loaded = jwk.from_jwk(key, alg=alg)
    accepted = {"typ": ["JWT", None], "issuer": "joe", "audience": None}
    assert jwt.decode(token, loaded, now=1300819379, **accepted) == CLAIMS  # type: ignore[arg-type]
    with pytest.raises(JoseError) as expired:
        jwt.decode(token, loaded, now=1300819380, **accepted)  # type: ignore[arg-type]
    assert expired.value.code == "expired"
    header, payload, signature = token.split(".")
    with pytest.raises(JoseError) as forged:
        jws.verify(f"{header}.{payload}.{'E' if signature[0] != 'E' else 'F'}{signature[1:]}", loaded)
    assert forged.value.code == "bad_signature"


@pytest.mark.spec("RFC 7515 §A.1.1", "RFC 7515 §A.2.1")
@pytest.mark.parametrize(("key", "alg", "token"), EXAMPLES[:2])
def test_the_deterministic_algorithms_reproduce_the_example(key: dict[str, str], alg: Algorithm, token: str) -> None:
    message = token.rpartition(".")[0].encode()
    assert jws.assemble(message, jws.sign_input(jwk.from_jwk(key, alg=alg), message)) == token


@pytest.mark.spec("RFC 7515 §A.2.1")
def test_the_private_members_survive_a_round_trip() -> None:
    exported = jwk.from_jwk(KEY_A2, alg="RS256").private_jwk()
    assert {name: exported[name] for name in KEY_A2} == KEY_A2


@pytest.mark.spec("J01", "RFC 8725 §3.1")
def test_a_key_is_for_one_algorithm() -> None:
    assert jws.verify(TOKEN_A2, jwk.from_jwk(KEY_A2, alg="RS256")).payload
    with pytest.raises(JoseError) as refused:
        jws.verify(TOKEN_A2, jwk.from_jwk(KEY_A2, alg="PS256"))
    assert refused.value.code == "unsupported_alg"


@pytest.mark.spec("J02", "J05", "J06", "RFC 7515 §A.4", "RFC 7515 §A.5", "RFC 7515 §A.6", "RFC 7515 §E")
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (TOKEN_A4, "unsupported_alg"),
        (f"eyJhbGciOiJub25lIn0.{PAYLOAD}.", "malformed"),
        (f"eyJhbGciOiJub25lIn0.{PAYLOAD}.AAAA", "unsupported_alg"),
        (f'{{"payload":"{PAYLOAD}","signatures":[]}}', "malformed"),
        (
            TOKEN_E,
            "unsupported_crit",
        ),
    ],
)
def test_the_other_examples_are_refused(token: str, code: str) -> None:
    key: Any = jwk.from_jwk(KEY_A3, alg="ES256")
    assert jws.verify(TOKEN_A3, key).payload
    with pytest.raises(JoseError) as refused:
        jws.verify(token, key)
    assert refused.value.code == code
