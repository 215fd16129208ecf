import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.jose.jose_keys import ALL, ISSUER, NOW, SECRET, claims, key

from mintmark.jose import base64url, jwk, jws, jwt, strict_json
from mintmark.jose.errors import CODES, JoseError


def test_an_error_carries_code_detail_and_claim() -> None:
    error = JoseError("expired", "the token has expired", claim="exp")
    assert (error.code, error.detail, error.claim) == ("expired", "the token has expired", "exp")
    assert str(error) == "expired (exp): the token has expired"
    assert str(JoseError("malformed")) == "malformed"
    assert JoseError("malformed").claim is None
    assert error.code in CODES


def test_an_error_survives_a_process_boundary() -> None:
    copy = pickle.loads(pickle.dumps(JoseError("expired", "text", claim="exp")))
    assert (copy.code, copy.detail, copy.claim) == ("expired", "text", "exp")


def _ec_with(**changed: Any) -> dict[str, Any]:
    return key("ES256").private_jwk() | changed


MARK = "c2VjcmV0LW1hcms"  # "secret-mark"

LEAKS: list[Callable[[], object]] = [
    lambda: base64url.decode(f"{MARK}é"),
    lambda: base64url.decode(f"{MARK}=="),
    lambda: strict_json.loads_object(b'{"a":"' + MARK.encode() + b'\xff"}'),
    lambda: strict_json.loads_object(b'{"' + MARK.encode() + b'":1,"' + MARK.encode() + b'":2}'),
    lambda: jws.verify(f"{MARK}é.a.b", key("ES256")),
    lambda: jws.verify(f"{MARK}.{MARK}.{MARK}", key("ES256")),
    lambda: jwk.from_jwk(_ec_with(d=MARK)),
    lambda: jwk.from_jwk(_ec_with(d=f"{MARK}=")),
    lambda: jwk.from_jwk(_ec_with(kid=MARK * 100)),
    lambda: jwk.symmetric(MARK.encode(), kid="k"),
    lambda: jwk.from_jwk(_ec_with(alg=MARK)),
    lambda: jwt.decode(
        jwt.encode(claims(iss=MARK), key("ES256"), typ=None),
        key("ES256"), typ=[None], issuer=ISSUER, audience=None, now=NOW,
    ),
]  # fmt: skip


@pytest.mark.spec("I8")
@pytest.mark.parametrize("number", range(len(LEAKS)))
def test_no_refusal_carries_what_it_refused(number: int) -> None:
    with pytest.raises(JoseError) as caught:
        LEAKS[number]()
    # The whole chain: a suppressed context is still attached, and reporters follow it.
    error: BaseException | None = caught.value
    while error is not None:
        text = repr(error.args) + str(error) + repr(vars(error)) + repr(getattr(error, "object", ""))
        assert MARK not in text
        assert "".join(traceback.format_exception_only(error)).count(MARK) == 0
        error = error.__context__


@pytest.mark.spec("I8", "K01")
@pytest.mark.parametrize("alg", ALL)
def test_private_material_is_never_in_a_repr(alg: Any) -> None:
    one = key(alg)
    public = set() if alg == "HS256" else set(one.public_jwk().values())
    secrets = set(one.private_jwk().values()) - public - {alg, one.kid, "sig", "oct"}
    assert secrets
    shown = repr(one) + str(one) + f"{one!s}{one!r}" + repr(jwk.KeySet([one])) + repr([one])
    shown += repr(jws.verify(jws.sign(b"x", one, typ=None), one))
    assert one.kid in shown
    assert not any(secret in shown for secret in secrets)
    assert repr(SECRET) not in shown
    assert SECRET.hex() not in shown
