"""RFC 7517 §3 and appendix A: the example keys and key sets."""

from typing import Final

import pytest

from mintmark.jose import jwk, jws
from mintmark.jose.errors import JoseError

EC_SECTION_3: Final = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "kid": "Public key used in JWS spec Appendix A.3 example",
}
EC_A2: Final = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    "use": "enc",
    "kid": "1",
}
RSA_A2: Final = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "d": "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
    "p": "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs",
    "q": "3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk",
    "dp": "G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDTP8akYhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0",
    "dq": "s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1BUb0JUiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk",
    "qi": "GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-Bk0KWNGDjJHZDdDmFhW3AN7lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU",
    "alg": "RS256",
    "kid": "2011-04-29",
}
EC_A1: Final = {name: value for name, value in EC_A2.items() if name != "d"}
RSA_A1: Final = {name: RSA_A2[name] for name in ("kty", "n", "e", "alg", "kid")}
OCT_A3: Final = [
    {"kty": "oct", "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg"},
    {
        "kty": "oct",
        "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "kid": "HMAC key used in JWS spec A.1 example",
    },
]


@pytest.mark.spec("RFC 7517 §3")
def test_section_3() -> None:
    key = jwk.from_jwk(EC_SECTION_3, alg="ES256")
    assert key.public_jwk() == EC_SECTION_3 | {"use": "sig", "alg": "ES256"}
    assert not key.can_sign


@pytest.mark.spec("RFC 7517 §A.1", "RFC 7517 §5", "K01", "J11")
def test_a1_public_keys_the_encryption_key_is_skipped() -> None:
    keys = jwk.KeySet.from_jwks({"keys": [EC_A1, RSA_A1]})
    assert list(keys) == ["2011-04-29"]
    assert keys.public_jwks() == {"keys": [RSA_A1 | {"use": "sig"}]}


@pytest.mark.spec("RFC 7517 §A.2", "K01")
def test_a2_private_keys() -> None:
    keys = jwk.KeySet.from_jwks({"keys": [EC_A2, RSA_A2]})
    key = keys["2011-04-29"]
    assert key.private_jwk() == RSA_A2 | {"use": "sig"}
    assert keys.public_jwks() == {"keys": [RSA_A1 | {"use": "sig"}]}
    token = jws.sign(b"payload", key, typ=None)
    assert jws.verify(token, jwk.from_jwk(RSA_A1)).payload == b"payload"


@pytest.mark.spec("RFC 7517 §A.2", "J11")
def test_a2_the_elliptic_curve_key_signs_once_it_is_for_signatures() -> None:
    with pytest.raises(JoseError) as refused:
        jwk.from_jwk(EC_A2, alg="ES256")
    assert refused.value.code == "bad_key"
    assert jwk.from_jwk(EC_A2 | {"use": "sig"}, alg="ES256").can_sign


@pytest.mark.spec("RFC 7517 §A.3", "J11")
def test_a3_symmetric_keys() -> None:
    with pytest.raises(JoseError) as refused:
        jwk.from_jwk(OCT_A3[0])
    assert refused.value.code == "unsupported_alg"
    assert jwk.from_jwk(OCT_A3[1], alg="HS256").can_sign
    # A published secret is no secret: a set never brings one along.
    assert not jwk.KeySet.from_jwks({"keys": OCT_A3}, alg="HS256")
