"""Thousands of mutated tokens before three judges: whatever our verifier accepts, PyJWT and joserfc accept as well.

Both are configured as strictly as they allow, with the same expectations; what they cannot be told (``typ``) is looked
at here. Where they are stricter than we are, `EXPLAINED` says why.
"""

from datetime import datetime, tzinfo
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final, Self
from unittest.mock import patch

import joserfc.jwk
import joserfc.jws
import joserfc.jwt
import jwt as pyjwt
import pytest
from joserfc.errors import JoseError as JoserfcError
from tests.property.forge import ALGS, CLAIMS, LEEWAY, NOW, Forge
from tests.property.mutations import corpus
from tests.support.issuers import API, Authority, Network, verifier
from tests.support.telling import tell
from tests.support.verifying import ISSUER, FakeClock

from mintmark.jose.jwk import KeySet
from mintmark.verifier import TokenRejected

REQUIRED: Final = ["iss", "aud", "exp", "iat", "sub", "jti", "client_id"]
TYPES: Final = ("at+jwt", "application/at+jwt")

_SHAPE: Final = ("compact", "indented", "other order", "white space around")
_TEXTS: Final = ("surrogate pair escaped", "nul escaped", "empty name", "__proto__")
_SECONDS: Final = (-29, -1, 0, 1, 29, 29.5, 30)
_ANY_VALUE: Final = (
    *("null", "true", "false", "0", "1", "-1", "1.5", '""', '"x"', "[]", '["x"]', "[null]", "{}", '{"x": 1}'),
    *("9223372036854775808", '"\\u00e9"'),
)
_NEAR: Final = (
    *("prefix", "suffix", "slash", "case", "scheme", "space before", "space after", "nul", "homoglyph", "soft hyphen"),
    *("port", "user", "fragment"),
)
_FAR: Final = ("2147483648", "9007199254740993", str(10**18), str(10**30), "1e+18", "1e+300")

# By builder; every other mutation is refused.
ACCEPTED: Final[dict[str, list[str]]] = {
    "header_members": [
        f'typ="{typ}"' for typ in ("AT+JWT", "at+JWT", "application/at+jwt", "APPLICATION/AT+JWT", "at+jwt")
    ],
    "header_additions": [
        *('foo="bar"', "foo=null", "foo=1", 'foo={"a": [1]}', 'x5t="dGh1bWI"', 'cty="JWT"', 'zip="DEF"'),
        *('enc="A256GCM"', 'iss="https://evil.example"', 'nonce="n"', "63 more members"),
    ],
    "header_texts": [*_SHAPE, *_TEXTS, "alg escaped", "kid escaped", "typ escaped"],
    "payload_texts": [
        *_SHAPE,
        *_TEXTS,
        *(f"{name} escaped" for name in CLAIMS),
        *("extra number 1E2", "extra number 101010101", "extra number -0", "exp number 101010101", "exp in exponents"),
        *(f"{what} {depth} deep" for what in ("arrays", "objects") for depth in (20, 31)),
    ],
    "claim_values": [
        *(f"{name}={text}" for name in ("sub", "client_id", "jti", "gid") for text in ('"x"', '"\\u00e9"')),
        *("gid=absent", 'gid=""', "scope=absent"),
        *(f"{name}={date}" for name in ("iat", "nbf") for date in ("0", "1", "1.5")),
        *("iat=9223372036854775808", "exp=9223372036854775808"),
        # What is nobody's business here, or permits nothing if it is of another type.
        *(
            f"{name}={value}"
            for name in ("scope", "roles", "permissions", "auth_time", "acr", "amr", "foo")
            for value in _ANY_VALUE
        ),
    ],
    "issuers_and_audiences": [
        *(f"aud good and {what}" for what in _NEAR),
        *("aud list", "aud twice in a list", "aud with others"),
    ],
    "times": [
        *(f"exp now{seconds:+}" for seconds in (-29.5, *_SECONDS, 30.5, 31, 3600, 10**9)),
        *(f"nbf now{seconds:+}" for seconds in (-(10**9), -86400, -31, -30.5, -30, -29.5, *_SECONDS)),
        *(f"iat now{seconds:+}" for seconds in (-(10**9), -86400, -31, -30.5, -30, -29.5, *_SECONDS)),
        *(f"iat now{seconds:+}" for seconds in (30.5, 31, 3600, 10**9)),
        *(f"{name}={value}" for name in ("exp", "iat") for value in _FAR),
        *("exp before iat", "exp before nbf", "nbf good"),
    ],
    "encodings": [],
    "signatures": [],
    "structures": ["good", "once more", "8000 octets", "16384 octets"],
}

_UNKNOWN_MEMBER: Final = "it refuses members it does not know; RFC 7515 §4 has them ignored"
_LATER: Final = (
    "it refuses an iat in the future; RFC 7519 §4.1.6 asks for no such thing, clocks differ, exp is the limit"
)

# Where a library refuses what we accept: who, what, and why that is no hole.
EXPLAINED: Final = {
    ("joserfc", "header_additions: foo=*"): _UNKNOWN_MEMBER,
    ("joserfc", "header_additions: zip=*"): _UNKNOWN_MEMBER,
    ("joserfc", "header_additions: enc=*"): _UNKNOWN_MEMBER,
    ("joserfc", "header_additions: iss=*"): _UNKNOWN_MEMBER,
    ("joserfc", "header_additions: nonce=*"): _UNKNOWN_MEMBER,
    ("joserfc", "header_additions: 63 more members"): "its header is limited to 512 octets, ours to the token's 16 KiB",
    ("joserfc", "header_texts: surrogate pair escaped"): _UNKNOWN_MEMBER,
    ("joserfc", "header_texts: nul escaped"): _UNKNOWN_MEMBER,
    ("joserfc", "header_texts: empty name"): _UNKNOWN_MEMBER,
    ("joserfc", "header_texts: __proto__"): _UNKNOWN_MEMBER,
    ("joserfc", "claim_values: iat=9223372036854775808"): _LATER,
    ("joserfc", "times: iat now+3*"): _LATER,
    ("joserfc", "times: iat now+1000000000"): _LATER,
    ("joserfc", "times: iat=*"): _LATER,
    ("pyjwt", "claim_values: iat=9223372036854775808"): _LATER,
    ("pyjwt", "times: iat now+31"): _LATER,
    ("pyjwt", "times: iat now+3600"): _LATER,
    ("pyjwt", "times: iat now+1000000000"): _LATER,
    ("pyjwt", "times: iat=*"): _LATER,
    ("pyjwt", "times: exp now-29.5"): "it cuts fractions off, so it takes the token for half a second older",
}


class _StandingStill(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW, tz)


class Judges:
    """The three, with the same keys and the same expectations."""

    def __init__(self) -> None:
        keys = [Forge(alg).key for alg in ALGS]
        assert FakeClock().now() == NOW
        self._ours = verifier(Authority(Network(), FakeClock(), ISSUER, *keys), is_client=False)
        jwks = KeySet(keys).public_jwks()
        self._pyjwt: dict[Any, pyjwt.PyJWK] = {one.key_id: one for one in pyjwt.PyJWKSet.from_dict(dict(jwks)).keys}
        self._joserfc = {one["kid"]: joserfc.jwk.import_key(dict(one)) for one in jwks["keys"]}
        expected: dict[str, Any] = {name: {"essential": True} for name in REQUIRED}
        expected |= {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": API}}
        self._registry = joserfc.jwt.JWTClaimsRegistry(now=NOW, leeway=LEEWAY, **expected)

    def ours(self, token: str) -> bool:
        """What the verifier says; any exception but its own passes."""
        try:
            self._ours.verify(token)
        except TokenRejected:
            return False
        return True

    def pyjwt(self, token: str) -> bool:
        """What PyJWT says."""
        try:
            header = pyjwt.get_unverified_header(token)
            key = self._pyjwt[header["kid"]]
            options: Any = {"require": REQUIRED, "enforce_minimum_key_length": True}
            pyjwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=API,
                issuer=ISSUER,
                leeway=LEEWAY,
                options=options,
            )
        except (pyjwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError):
            return False
        return _is_access_token(header)

    def joserfc(self, token: str) -> bool:
        """What joserfc says."""
        try:
            key = self._joserfc[joserfc.jws.extract_compact(token.encode()).headers()["kid"]]
            decoded = joserfc.jwt.decode(token, key, algorithms=[str(key.alg)])
            self._registry.validate(decoded.claims)
        except (JoserfcError, KeyError, TypeError, ValueError, RecursionError, AttributeError):
            return False
        return _is_access_token(decoded.header)


def _is_access_token(header: dict[str, Any]) -> bool:
    typ = header.get("typ")
    return isinstance(typ, str) and typ.lower() in TYPES


@cache
def verdicts() -> dict[str, tuple[bool, bool, bool]]:
    """What the three say of each token, by its id: ours, PyJWT, joserfc."""
    judges = Judges()
    with patch("jwt.api_jwt.datetime", _StandingStill), pytest.warns():
        # joserfc warns that "EdDSA" has a younger name (RFC 9864).
        return {
            identity: (judges.ours(token), judges.pyjwt(token), judges.joserfc(token))
            for identity, token in corpus().items()
        }


@pytest.mark.slow
@pytest.mark.spec("J01", "J02", "J03", "J04", "J05", "J06", "J07", "J08", "J09", "J10", "X01", "X02")
def test_exactly_these_are_accepted() -> None:
    expected = {f"{alg} {builder}: {name}" for alg in ALGS for builder, names in ACCEPTED.items() for name in names}
    # A valid pair (r, s) has a twin (r, -s): ECDSA signatures identify nothing, and nothing here relies on that.
    expected.add("ES256 signatures: s negated")
    accepted = {identity for identity, (ours, _, _) in verdicts().items() if ours}
    assert sorted(accepted - expected) == []
    assert sorted(expected - accepted) == []


@pytest.mark.spec("J01", "J02", "J06", "J07", "J08", "J09", "X01")
def test_what_we_accept_the_others_accept(request: pytest.FixtureRequest) -> None:
    used = set()
    unexplained = []
    for identity, (ours, *others) in verdicts().items():
        for judge, theirs in zip(("pyjwt", "joserfc"), others, strict=True):
            if ours and not theirs:
                what = identity.partition(" ")[2]
                reasons = [entry for entry in EXPLAINED if entry[0] == judge and fnmatchcase(what, entry[1])]
                used.update(reasons)
                if not reasons:
                    unexplained.append(f"{judge} refuses {identity}")
    assert unexplained == []
    assert set(EXPLAINED) - used == set()
    counts = [sum(column) for column in zip(*verdicts().values(), strict=True)]
    tell(
        request,
        "{} mutated tokens; accepted by us {}, PyJWT {}, joserfc {}".format(len(verdicts()), *counts),
    )
    assert len(verdicts()) >= 2000
    # The judges do judge: none of them accepts nearly everything, or next to nothing.
    assert all(len(verdicts()) * 0.2 < count < len(verdicts()) * 0.6 for count in counts)


@pytest.mark.spec("J01", "J02", "J06", "J07")
@pytest.mark.parametrize("alg", ALGS)
def test_no_forgery_is_accepted_by_any_of_the_three(alg: str) -> None:
    forged = {
        identity: verdict
        for identity, verdict in verdicts().items()
        if identity.startswith(f"{alg} signatures: ") and not identity.endswith("s negated")
    }
    assert len(forged) > 50
    assert [identity for identity, verdict in forged.items() if any(verdict)] == []
    assert verdicts()[f"{alg} structures: good"] == (True, True, True)
