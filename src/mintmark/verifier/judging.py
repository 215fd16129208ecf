"""Judging one token against what is known of its issuer, by what is in memory alone.

Where that is not enough, `Wait` says what has to be called first, on this thread or another; then it is tried again.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any, Final, Literal, get_args

from mintmark.jose import base64url, jws, jwt, strict_json
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import Key, KeySet
from mintmark.verifier.errors import RejectionCode, TokenRejected, VerifierUnavailable
from mintmark.verifier.introspection import Introspector
from mintmark.verifier.ports import Clock
from mintmark.verifier.results import Result, ResultCache
from mintmark.verifier.source import STALE_AFTER, Source, State
from mintmark.verifier.token import Token

OnStale = Literal["serve", "introspect", "deny"]
"""What to do with a good token while revocations may be missed: accept it, ask the issuer, or answer 503."""

POSTURES: Final[frozenset[str]] = frozenset(get_args(OnStale))

RESULT_LIFETIME: Final = 300
"""Seconds for which a verified token is remembered, or the issuer's answer about one."""

UNREACHABLE_SECONDS: Final = 5
"""Seconds for which an issuer that could not be asked is not asked again, where one can do without."""

ACCESS_TOKEN_TYPE: Final = "at+jwt"
# RFC 9068 §2.2 has the issuer put them into every access token. Without a subject nobody knows whom it speaks for.
_TEXT_CLAIMS: Final = ("sub", "client_id", "jti")


class Wait(Exception):  # noqa: N818 - says what to do
    """What is in memory does not settle it.

    Attributes:
        act: What has to be called before it is tried again. It may take a while, and raise what `Judge.settle` raises.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act


class Judge:
    """The rules of one verifier.

    Args:
        sources: The issuers trusted, by identifier.
        clock: Time.
        on_stale: See `OnStale`.
        asks_always: Whether the issuer is asked about every token that is good by itself.
        leeway: Clock difference to forgive, seconds.
        max_results: How many are remembered.
        max_result_bytes: How much memory they may take.

    Attributes:
        results: The results that settle a request: of verification, or of asking where the issuer is always asked.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        clock: Clock,
        on_stale: OnStale,
        asks_always: bool,
        leeway: int,
        max_results: int = 32_768,
        max_result_bytes: int = 128 * 1024 * 1024,
    ) -> None:
        self._sources: Final = sources
        self._only: Final = next(iter(sources.values())) if len(sources) == 1 else None
        self._clock: Final = clock
        # Bound once: a look-up more would be noticed in what is done for each request.
        self._now: Final = clock.now
        self._uptime: Final = clock.uptime
        self._on_stale: Final[OnStale] = on_stale
        self._asks_always: Final = asks_always
        self._leeway: Final = leeway
        self._verified: Final = ResultCache(max_results, max_result_bytes)
        self._asked: Final = ResultCache(max_results, max_result_bytes)
        self._seconds: dict[int, float] = {}
        # An uptime, and when a result of the second that begins there is outdated if its token lives for long.
        self._this_second: tuple[float, float] = (-inf, -inf)
        self.results: Final = self._asked if asks_always else self._verified

    @property
    def count(self) -> int:
        """How many results are remembered."""
        return len(self._verified) + len(self._asked)

    def reset_after_fork(self) -> None:
        """Make the locks anew."""
        self._verified.reset_after_fork()
        self._asked.reset_after_fork()

    def settle(self, raw: str, on_stale: OnStale | None, waits_left: int) -> Token:
        """Verify ``raw``.

        Args:
            raw: The token.
            on_stale: Instead of the verifier's own.
            waits_left: How often the caller goes on after a `Wait`; with none left, no unknown key is looked for.

        Raises:
            Wait: Something has to be waited for; then this is to be called again.
            TokenRejected: It is not good.
            VerifierUnavailable: That cannot be said just now.
            ValueError: ``on_stale`` is no such thing; taken for the laxest, a slip of the pen would go unnoticed.
        """
        if on_stale is not None and on_stale not in POSTURES:
            raise ValueError(f"on_stale is one of {', '.join(sorted(POSTURES))}")
        if type(raw) is not str or not raw:
            raise TokenRejected("malformed")
        if len(raw) > jws.MAX_BYTES:
            raise TokenRejected("too_large")
        is_jwt = raw.count(".") == 2
        source = self._only if is_jwt else self._source_of_opaque()
        if source is None:
            source = self._source_of(raw)
        # Read before anything it is judged by: should that change meanwhile, what comes of it counts as outdated.
        state = source.state
        uptime = self._uptime()
        keys, posture = state.keys, None
        if uptime >= state.fresh_until:
            keys, posture = self._look_closer(source, on_stale or self._on_stale)
        local = self._locally(raw, source, state, keys, uptime, waits_left) if is_jwt else None
        if local is None or self._asks_always or posture == "introspect":
            return self._by_asking(raw, source, state, local, posture)
        return local.token

    def _look_closer(self, source: Source, on_stale: OnStale) -> tuple[KeySet | None, OnStale | None]:
        """Return the keys to judge by, and ``on_stale`` if revocations may be missed."""
        # In this order: when the first keys arrive meanwhile, they are seen, or waited for.
        is_due = source.keys.due_in() <= 0
        keys = source.keys.keys
        if is_due if keys is None else not source.is_prepared:
            raise Wait(source.prepare)
        posture = on_stale if source.watch() else None
        if posture == "deny":
            raise VerifierUnavailable("the revocation feed is silent")
        return keys, posture

    def _source_of(self, raw: str) -> Source:
        try:
            # Only to find the keys: it is judged once the signature held.
            stated = strict_json.loads_object(base64url.decode(raw.split(".")[1])).get("iss")
        except JoseError:
            raise TokenRejected("malformed") from None
        source = self._sources.get(stated) if isinstance(stated, str) else None
        if source is None:
            raise TokenRejected("wrong_issuer", claim="iss")
        return source

    def _source_of_opaque(self) -> Source:
        # Showing a token to an issuer that did not make it would give it away.
        if self._only is not None and self._only.introspector is not None:
            return self._only
        raise TokenRejected("malformed")

    def _locally(
        self, raw: str, source: Source, state: State, keys: KeySet | None, uptime: float, waits_left: int
    ) -> Result:
        if keys is None:
            raise VerifierUnavailable("no keys of the issuer are known")
        result = self._verified.get(raw)
        if result is not None and result.source is source and self._is_still_good(raw, result, state, self._verified):
            return result
        now = int(self._now())
        try:
            verified = jws.verify(raw, keys)
            claims = jwt.judge(
                verified,
                typ=ACCESS_TOKEN_TYPE,
                issuer=source.issuer,
                audience=source.audience,
                now=now,
                leeway=self._leeway,
            )
            _check_claims(claims)
        except JoseError as error:
            if error.code == "unknown_key" and (kid := _kid(raw)) is not None:
                self._look_for(kid, source, waits_left)
            raise TokenRejected(_code(error), claim=error.claim) from None
        if source.table.revokes(claims, verified.key.kid):
            raise TokenRejected("revoked")
        second, until = self._this_second
        if not second <= uptime < second + 1 or claims["exp"] + self._leeway < now + RESULT_LIFETIME + 1:
            until = self._until(uptime, claims["exp"])
        result = Result(Token(claims, self._clock), claims, source, verified.key, state, until)
        self._verified.put(raw, result)
        return result

    def _look_for(self, kid: str, source: Source, waits_left: int) -> None:
        """Return if the key is known not to exist."""
        if waits_left and source.keys.may_find(kid):
            raise Wait(partial(source.keys.find, kid)) from None
        if waits_left and kid in (source.keys.keys or ()):
            # It was fetched this very moment, by another thread that is about to say so.
            raise Wait(source.renew_state) from None
        if not source.keys.is_current and not source.table.revokes({}, kid):
            # The issuer may have begun to sign with it since it was heard last (invariant I4).
            raise VerifierUnavailable("the keys may be out of date") from None

    def _by_asking(
        self, raw: str, source: Source, state: State, local: Result | None, posture: OnStale | None
    ) -> Token:
        if source.introspector is None:
            raise VerifierUnavailable("the issuer cannot be asked without a client_id")
        result, now = self._asked.get(raw), self._uptime()
        if (
            result is not None
            and self._is_still_good(raw, result, state, self._asked)
            # While nobody says what was revoked, an answer is worth as long as silence is.
            and (posture is None or now < result.asked_at + STALE_AFTER)
        ):
            return result.token
        # With the feed live, what we know ourselves is as good; without it, that is what `serve` means.
        may_do_without = local is not None and posture in {None, "serve"}
        if local is not None and may_do_without and now < source.unreachable_until:
            return local.token
        key = None if local is None else local.key
        ask = partial(self._ask, raw, source, state, key, source.introspector)
        raise Wait(partial(_trying, ask, source, self._clock) if may_do_without else ask)

    def _ask(self, raw: str, source: Source, state: State, key: Key | None, introspector: Introspector) -> None:
        asked_at = self._uptime()
        # A copy: others who asked at the same time were given the same answer.
        claims = dict(introspector.ask(raw))
        if source.table.revokes(claims, None if key is None else key.kid):
            raise TokenRejected("revoked")
        uptime = self._uptime()
        until = self._until(uptime, claims["exp"])
        # Dates may have fractions: what is not worth anything when it is kept would be asked about again and again.
        if until <= uptime:
            raise TokenRejected("expired", claim="exp")
        self._asked.put(raw, Result(Token(claims, self._clock), claims, source, key, state, until, asked_at))

    def _until(self, uptime: float, expires_at: float) -> float:
        """Return the uptime at which a result of now is outdated, or up to a second less.

        Results that end in the same second share the number: to visit one of its own in cold memory would be a fifth
        of a hit.
        """
        now = self._now()
        left = min(now + RESULT_LIFETIME, expires_at + self._leeway) - now
        if left <= 1:
            return uptime + left
        until = int(uptime + left)
        found = self._seconds.get(until)
        if found is None:
            if len(self._seconds) > 2 * RESULT_LIFETIME:
                self._seconds = {}
            found = self._seconds[until] = float(until)
        if left == RESULT_LIFETIME:
            self._this_second = found - RESULT_LIFETIME, found
        return found

    def _is_still_good(self, raw: str, result: Result, state: State, results: ResultCache) -> bool:
        """Judge a remembered result by what is known now.

        Raises:
            TokenRejected: The token was revoked.
        """
        source = result.source
        if self._uptime() >= result.until:
            return False
        if result.state is state:
            return True
        # The clock may have been set since.
        if self._now() >= result.token.expires_at + self._leeway:
            return False
        key = result.key
        if source.table.revokes(result.claims, None if key is None else key.kid):
            results.discard(raw)
            raise TokenRejected("revoked")
        keys = source.keys.keys
        if key is not None and (keys is None or keys.get(key.kid) is not key):
            results.discard(raw)
            return False
        result.state = state
        return True


def _trying(ask: Callable[[], None], source: Source, clock: Clock) -> None:
    try:
        ask()
    except VerifierUnavailable:
        source.unreachable_until = clock.uptime() + UNREACHABLE_SECONDS


def _check_claims(claims: Mapping[str, Any]) -> None:
    for name in _TEXT_CLAIMS:
        value = claims.get(name)
        if type(value) is not str or not value:
            raise JoseError("bad_claim" if name in claims else "missing_claim", "RFC 9068 §2.2", claim=name)
    if "iat" not in claims:
        raise JoseError("missing_claim", "RFC 9068 §2.2", claim="iat")
    if not isinstance(claims.get("gid", ""), str):
        raise JoseError("bad_claim", "no text", claim="gid")
    # A token bound to a key is worth nothing without a proof, and nobody asks for one here (RFC 9449 §7.1).
    if "cnf" in claims:
        raise JoseError("wrong_type", "bound to a key", claim="cnf")


def _code(error: JoseError) -> RejectionCode:
    # A key that cannot be used is as good as none.
    return "unknown_key" if error.code == "bad_key" else error.code


def _kid(raw: str) -> str | None:
    """Return the key id of a token whose header was found to be in order."""
    kid = strict_json.loads_object(base64url.decode(raw.partition(".")[0])).get("kid")
    return kid if isinstance(kid, str) else None
