"""The verifier by itself: a token it has not seen, and one that it has, beside a bare signature check."""

import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
_FEW: Final = 500
_TURN: Final = 0.02
_BATCH: Final = 50

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
        bare_at_best: ``bare`` in its fastest turn. What others do on the same host slows code that needs much memory
            more than a loop inside OpenSSL: the mean tells of them as well, the fastest turn of the code.
        uncached_at_best: ``uncached`` in its fastest turn.
    """

    bare: float
    pyjwt: float
    uncached: float
    cached: float
    cached_beside_revocations: float
    bare_at_best: float
    uncached_at_best: float


def rates(seconds: float) -> Rates:
    """Measure all of them on the same tokens, in turns of a few milliseconds: a machine has fast and slow seconds."""
    key = jwk.generate("RS256")
    assert isinstance(key.verifying, rsa.RSAPublicKey)
    public = key.verifying
    tokens = make_tokens(key, WORKING_SET)
    parts = [(base64url.decode(s), m.encode()) for m, _, s in (token.rpartition(".") for token in tokens[:_FEW])]
    with ExitStack() as stack:
        forgetful, cached, crowded = (
            stack.enter_context(Verifier(ISSUER, API, transport=Memory(KeySet([key])))) for _ in range(3)
        )
        # How much a verifier remembers is no option of it. With room for few results, whatever is presented was forgotten.
        judge = forgetful._judge  # noqa: SLF001 - see above
        judge._verified = judge.results = forgetful._results = ResultCache(_FEW // 16, 2**20)  # type: ignore[misc] # noqa: SLF001 - see above
        (source,) = crowded._sources.values()  # noqa: SLF001 - filled without an authority
        for number in range(REVOCATIONS):
            source.table.add("jti", f"{number:x}", None, 2**40)
        for token in tokens:
            cached.verify(token)
            crowded.verify(token)
        runs = [
            _Run(lambda part: public.verify(part[0], part[1], _PKCS1, _SHA256), parts),
            _Run(lambda raw: _by_pyjwt(raw, public), tokens[:_FEW]),
            _Run(forgetful.verify, tokens[:_FEW]),
            _Run(cached.verify, tokens, is_shuffled=True),
            _Run(crowded.verify, tokens, is_shuffled=True),
        ]
        end = time.perf_counter() + seconds * len(runs)
        while time.perf_counter() < end:
            for run in runs:
                run.go_on()
    bare, _, uncached, _, _ = runs
    return Rates(*[run.rate for run in runs], *[run.best for run in (bare, uncached)])


class _Run:
    """One thing done over and over, with pauses."""

    def __init__(self, act: Callable[[Any], object], things: Sequence[Any], *, is_shuffled: bool = False) -> None:
        self._act = act
        self._things = list(things)
        self._draw = random.Random(0) if is_shuffled else None
        self._turn: Iterator[Any] = iter(())
        self._count, self._used = 0, 0.0
        self.best = 0.0

    @property
    def rate(self) -> float:
        """How often it was done in a second of processor time."""
        return self._count / self._used

    def go_on(self) -> None:
        """Do it for some milliseconds."""
        act, end = self._act, time.perf_counter() + _TURN
        count, used = self._count, self._used
        while time.perf_counter() < end:
            things = self._next()
            began = time.process_time()
            for thing in things:
                act(thing)
            self._used += time.process_time() - began
            self._count += len(things)
        self.best = max(self.best, (self._count - count) / (self._used - used))

    def _next(self) -> list[Any]:
        """Return the next few things: texts as new objects, as a server has just read them from its connection."""
        few = list(itertools.islice(self._turn, _BATCH))
        if not few:
            if self._draw is not None:
                self._draw.shuffle(self._things)
            self._turn = iter(self._things)
            few = list(itertools.islice(self._turn, _BATCH))
        return [one.encode().decode() if isinstance(one, str) else one for one in few]


def make_tokens(key: Key, count: int) -> list[str]:
    """Return access tokens as the authority signs them, each another."""
    now = int(time.time())  # noqa: TID251 - PyJWT reads the clock as well
    claims: dict[str, Any] = {"iss": ISSUER, "sub": "usr_ada", "aud": API, "exp": 2**40, "iat": now, "nbf": now}
    claims |= {"client_id": "app", "scope": "orders:read orders:write", "gid": "x" * 22}
    claims |= {"auth_time": now, "acr": "pwd", "amr": ["pwd"], "roles": ["clerk"], "permissions": ["orders:approve"]}
    return [jwt.encode({**claims, "jti": f"{number:022}"}, key, typ="at+jwt") for number in range(count)]


def _by_pyjwt(raw: str, public: rsa.RSAPublicKey) -> None:
    pyjwt.decode(raw, public, algorithms=["RS256"], issuer=ISSUER, audience=API)


if __name__ == "__main__":
    (how_long,) = machine.pin_as_told()
    sys.stdout.write(msgspec.json.encode(rates(float(how_long))).decode())
