"""The verifier by itself: a token it has not seen, and one that it has, beside a bare signature check."""

import itertools
import random
import sys
import time
from collections.abc import Iterable
from typing import Any, Final

import jwt as pyjwt
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench import machine
from bench.seed import API, ISSUER
from mintmark.jose import base64url, jwk, jwt
from mintmark.jose.jwk import Key, KeySet
from mintmark.verifier import Verifier
from mintmark.verifier.ports import Response, TransportError
from mintmark.verifier.results import ResultCache

WORKING_SET: Final = 10_000
REVOCATIONS: Final = 100_000

_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()


class Memory:
    """An issuer that is nowhere but here."""

    def __init__(self, keys: KeySet) -> None:
        jwks = keys.public_jwks()
        self._documents = {
            "oauth-authorization-server": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"},
            "jwks": jwks,
        }

    def request(self, method: str, url: str, **_how: object) -> Response:
        """Answer with the document."""
        del method
        return Response(200, {}, msgspec.json.encode(self._documents[url.rpartition("/")[2]]))

    def stream(self, url: str, **_how: object) -> Any:
        """Have no feed."""
        raise TransportError(url)


class Rates(msgspec.Struct):
    """Operations a second of processor time.

    Attributes:
        bare: The signature by ``cryptography``, and nothing else.
        pyjwt: PyJWT.
        uncached: The verifier, for a token it does not remember.
        cached: The verifier, for tokens that it does.
        cached_beside_revocations: The same with many live revocations, none of them of these tokens.
    """

    bare: float
    pyjwt: float
    uncached: float
    cached: float
    cached_beside_revocations: float


def rates(seconds: float) -> Rates:
    """Measure all of them on the same tokens."""
    key = jwk.generate("RS256")
    assert isinstance(key.verifying, rsa.RSAPublicKey)
    public = key.verifying
    tokens = make_tokens(key, WORKING_SET)
    parts = [(base64url.decode(s), m.encode()) for m, _, s in (token.rpartition(".") for token in tokens[:500])]
    with Verifier(ISSUER, API, transport=Memory(KeySet([key]))) as forgetful:
        judge = forgetful._judge  # noqa: SLF001 - room for one result: whatever is presented was forgotten
        judge._verified = judge.results = forgetful._results = ResultCache(2, 2**20)  # type: ignore[misc] # noqa: SLF001
        bare = _rate(lambda part: public.verify(part[0], part[1], _PKCS1, _SHA256), parts, seconds)
        pyjwt_rate = _rate(lambda raw: _by_pyjwt(raw, public), tokens[:500], seconds)
        uncached = _rate(forgetful.verify, tokens[:500], seconds)
    cached = []
    for revocations in (0, REVOCATIONS):
        with Verifier(ISSUER, API, transport=Memory(KeySet([key]))) as verifier:
            (source,) = verifier._sources.values()  # noqa: SLF001 - filled without an authority
            for number in range(revocations):
                source.table.add("jti", f"{number:x}", None, 2**40)
            cached.append(_cached(verifier, tokens, seconds))
    return Rates(bare, pyjwt_rate, uncached, *cached)


def make_tokens(key: Key, count: int) -> list[str]:
    """Return access tokens as the authority signs them, each another."""
    now = int(time.time())  # noqa: TID251 - PyJWT reads the clock as well
    claims: dict[str, Any] = {"iss": ISSUER, "sub": "usr_ada", "aud": API, "exp": 2**40, "iat": now, "nbf": now}
    claims |= {"client_id": "app", "scope": "orders:read orders:write", "gid": "x" * 22}
    claims |= {"auth_time": now, "acr": "pwd", "amr": ["pwd"], "roles": ["clerk"], "permissions": ["orders:approve"]}
    return [jwt.encode({**claims, "jti": f"{number:022}"}, key, typ="at+jwt") for number in range(count)]


def _by_pyjwt(raw: str, public: rsa.RSAPublicKey) -> None:
    pyjwt.decode(raw, public, algorithms=["RS256"], issuer=ISSUER, audience=API)


def _rate(act: Any, things: Iterable[Any], seconds: float) -> float:
    turn = itertools.cycle(things)
    count, used, end = 0, time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for thing in itertools.islice(turn, 50):
            act(thing)
        count += 50
    return count / (time.process_time() - used)


def _cached(verifier: Verifier, tokens: list[str], seconds: float) -> float:
    """Present the whole working set again and again, as new strings: their hash has to be computed each time."""
    for token in tokens:
        verifier.verify(token)
    sent = [token.encode() for token in tokens]
    draw = random.Random(0)
    count, used, end = 0, 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        draw.shuffle(sent)
        fresh = [token.decode() for token in sent]
        began = time.process_time()
        for raw in fresh:
            verifier.verify(raw)
        used += time.process_time() - began
        count += len(fresh)
    return count / used


if __name__ == "__main__":
    (how_long,) = machine.pin_as_told()
    sys.stdout.write(msgspec.json.encode(rates(float(how_long))).decode())
