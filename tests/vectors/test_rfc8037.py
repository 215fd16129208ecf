"""RFC 8037 appendix A: Ed25519 key, thumbprint, signature."""

from typing import Final

import pytest

from mintmark.jose import jwk, jws
from mintmark.jose.errors import JoseError

PRIVATE: Final = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
PUBLIC: Final = {name: PRIVATE[name] for name in ("kty", "crv", "x")}
THUMBPRINT: Final = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
SIGNING_INPUT: Final = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
TOKEN: Final = (
    f"{SIGNING_INPUT.decode()}.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


@pytest.mark.spec("RFC 8037 §A.1", "RFC 8037 §A.2")
def test_the_keys() -> None:
    private = jwk.from_jwk(PRIVATE, alg="EdDSA")
    shared = {"use": "sig", "alg": "EdDSA", "kid": THUMBPRINT}
    assert private.private_jwk() == PRIVATE | shared
    assert private.public_jwk() == PUBLIC | shared == jwk.from_jwk(PUBLIC, alg="EdDSA").public_jwk()


@pytest.mark.spec("RFC 8037 §A.3")
def test_the_thumbprint() -> None:
    assert jwk.thumbprint(PUBLIC) == jwk.thumbprint(PRIVATE) == THUMBPRINT


@pytest.mark.spec("RFC 8037 §A.4")
def test_signing() -> None:
    assert jws.assemble(SIGNING_INPUT, jws.sign_input(jwk.from_jwk(PRIVATE, alg="EdDSA"), SIGNING_INPUT)) == TOKEN


@pytest.mark.spec("RFC 8037 §A.5")
def test_verifying() -> None:
    key = jwk.from_jwk(PUBLIC, alg="EdDSA")
    assert jws.verify(TOKEN, key).payload == b"Example of Ed25519 signing"
    with pytest.raises(JoseError) as refused:
        jws.verify(TOKEN.replace("RXh", "RXg"), key)
    assert refused.value.code == "bad_signature"


@pytest.mark.spec("RFC 8037 §A.6", "J11")
def test_a_key_agreement_curve_signs_nothing() -> None:
    x25519 = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
    with pytest.raises(JoseError) as refused:
        jwk.from_jwk(x25519, alg="EdDSA")
    assert refused.value.code == "bad_key"
