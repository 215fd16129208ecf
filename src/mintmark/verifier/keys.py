"""The keys of one issuer: found by discovery, refreshed before they age, never asked for more often than is polite.

Rules (standards S05, S06, S08, J03):
- only the metadata of the configured issuer says where its keys are; nothing in a token ever does;
- the published set replaces the former one. What cannot be read replaces nothing: the last good set serves on for at
  most a day. That includes a set without any usable key. An authority always publishes the key it signs with, so such
  an answer comes from something broken on the way; a key that has to go at once goes by the feed (`KeyKeeper.drop`);
- an unknown ``kid`` fetches at most once in five seconds, whoever sends it, and one that was not found is not asked
  for again for a minute;
- whatever is under way serves everybody who waits for it.
"""

import logging
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mintmark.jose import strict_json
from mintmark.jose.errors import JoseError
from mintmark.jose.jwk import MAX_KID_CHARS, Key, KeySet
from mintmark.verifier.addresses import split_url
from mintmark.verifier.caching import lifetime_of
from mintmark.verifier.errors import VerifierUnavailable
from mintmark.verifier.ports import Clock, Response, Transport, TransportError

MAX_KEY_AGE: Final = 86400.0
"""Seconds the last good keys serve while none can be fetched."""

_TIMEOUT: Final = 5.0
_MAX_METADATA_BYTES: Final = 262144
_MAX_JWKS_BYTES: Final = 524288
_METADATA_SECONDS: Final = 3600.0
_DEFAULT_LIFETIME: Final = 300.0
_REFRESH_AHEAD: Final = 0.8
_JITTER: Final = 0.1
_MAX_BACK_OFF: Final = 60.0
_MAX_DOUBLINGS: Final = 6
_COOLDOWN: Final = 5.0
_FIND_PATIENCE: Final = 1.0
_MISS_SECONDS: Final = 60.0
_MAX_MISSES: Final = 1000
_MAX_ETAG_CHARS: Final = 256

_ETAG: Final = re.compile(r"[\x21-\x7e]+")
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

log = logging.getLogger("mintmark.verifier")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the issuer answers what."""

    jwks_uri: str
    introspection_endpoint: str | None
    revocations_endpoint: str | None


class _Refused(Exception):  # noqa: N818 - says what is the case
    """An answer that is no good; the text is constant."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What the issuer published last. One object, so that nobody ever sees half of a change."""

    uri: str
    body: bytes
    etag: str | None
    keys: Mapping[str, Key]
    lifetime: float


@dataclass(slots=True)
class _Flight:
    """A fetch under way."""

    began_at: float
    is_over: threading.Event = field(default_factory=threading.Event)
    has_succeeded: bool = False


class KeyKeeper:
    """Keeps the keys of one issuer. Thread-safe.

    Args:
        issuer: The issuer identifier, exactly as in its metadata.
        transport: How to reach it.
        clock: Time.
        on_change: Called whenever `keys` or `good_until` has become another.
        randomness: Spreads the refreshes of a fleet.

    Attributes:
        fetches: Attempts to fetch keys.
        failures: Attempts that failed.
        good_until: Uptime until which `keys` may be believed.

    Raises:
        ValueError: ``issuer`` is no issuer identifier (RFC 8414 §2).
    """

    def __init__(
        self,
        issuer: str,
        transport: Transport,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        randomness: random.Random | None = None,
    ) -> None:
        self.fetches = 0
        self.failures = 0
        self._issuer = issuer
        self._places = _well_known(issuer)
        self._transport = transport
        self._clock = clock
        self._on_change = on_change
        # It spreads load; nobody gains by guessing it.
        self._random = randomness or random.Random()  # noqa: S311
        self._endpoints: Endpoints | None = None
        self._metadata_until = self._due_at = clock.uptime()
        self._published: _Published | None = None
        self._keys: KeySet | None = None
        self.good_until = self._current_until = 0.0
        self._cool_at = clock.uptime()
        self._failed_in_a_row = 0
        self._trouble: str | None = None
        self._misses: dict[str, float] = {}
        self._dropped: dict[str, float] = {}
        self._lock = threading.Lock()
        self._flight: _Flight | None = None

    @property
    def keys(self) -> KeySet | None:
        """The last good keys, without any I/O; None before the first, and once they are a day old."""
        return self._keys if self._clock.uptime() < self.good_until else None

    @property
    def is_current(self) -> bool:
        """Whether there can be no key that we do not know: the issuer publishes each before it signs with it."""
        return self._clock.uptime() < self._current_until

    @property
    def endpoints(self) -> Endpoints | None:
        """What the issuer's metadata said, without any I/O."""
        return self._endpoints

    def due_in(self) -> float:
        """Return in how many seconds `refresh` should be called."""
        return self._due_at - self._clock.uptime()

    def may_find(self, kid: str) -> bool:
        """Return whether `find` would fetch, without any I/O."""
        now = self._clock.uptime()
        return (
            now >= self._cool_at
            and now >= self._misses.get(kid, now)
            and kid not in (self.keys or ())
            and len(kid) <= MAX_KID_CHARS
            and not self._is_dropped(kid)
        )

    def find(self, kid: str) -> None:
        """Fetch the keys for the sake of ``kid``, if `may_find` says so; wait for the outcome.

        A fetch that another began is waited for as long as fetches usually take: if the issuer hangs, whoever sends
        unknown key ids must not occupy every thread of the service.

        Raises:
            VerifierUnavailable: It takes longer than that.
        """
        with self._lock:
            if not self.may_find(kid):
                return
            flight, is_mine = self._board()
        has_succeeded = self._fly(flight, is_mine=is_mine, patience=_FIND_PATIENCE)
        if not flight.is_over.is_set():
            raise VerifierUnavailable("the keys are being fetched")
        if not has_succeeded or kid in (self.keys or ()):
            return
        with self._lock:
            self._misses.pop(kid, None)
            self._misses[kid] = self._clock.uptime() + _MISS_SECONDS
            while len(self._misses) > _MAX_MISSES:
                del self._misses[next(iter(self._misses))]

    def refresh(self) -> bool:
        """Fetch the keys, or wait for the fetch under way; return whether it succeeded. Never raises."""
        with self._lock:
            flight, is_mine = self._board()
        return self._fly(flight, is_mine=is_mine)

    def drop(self, kid: str, until: float) -> None:
        """Remove a key at once, whatever the issuer goes on publishing.

        Args:
            kid: Its key id.
            until: Unix time in seconds from which it may come back.
        """
        with self._lock:
            now = self._clock.now()
            self._dropped = {one: end for one, end in self._dropped.items() if end > now}
            self._dropped[kid] = max(until, self._dropped.get(kid, until))
            if self._published is not None:
                # Even after `until`, only another answer of the issuer may bring it back.
                kept = {one: key for one, key in self._published.keys.items() if one != kid}
                self._published = replace(self._published, keys=kept)
            has_changed = self._keys is not None and self._select()
        if has_changed:
            self._on_change()

    def reset_after_fork(self) -> None:
        """Forget the parent's locks and its fetch under way; keep what is known."""
        self._lock = threading.Lock()
        self._flight = None
        # The workers of one server would otherwise all ask at the same instant.
        self._random.seed()

    def _board(self) -> tuple[_Flight, bool]:
        """Return the fetch under way, or a new one that the caller has to carry out. Under the lock."""
        if self._flight is not None:
            return self._flight, False
        self._flight = _Flight(self._clock.uptime())
        return self._flight, True

    def _fly(self, flight: _Flight, *, is_mine: bool, patience: float | None = None) -> bool:
        if not is_mine:
            left = None if patience is None else max(0.0, flight.began_at + patience - self._clock.uptime())
            flight.is_over.wait(left)
            return flight.has_succeeded
        try:
            flight.has_succeeded = self._attempt()
        finally:
            with self._lock:
                self._cool_at = self._clock.uptime() + _COOLDOWN
                self._flight = None
            flight.is_over.set()
        return flight.has_succeeded

    def _attempt(self) -> bool:
        self.fetches += 1
        try:
            self._fetch()
        except (_Refused, TransportError) as problem:
            self._fail(str(problem))
        except JoseError as problem:
            self._fail(f"malformed answer ({problem.code})")
        except Exception as problem:  # noqa: BLE001 - the thread that refreshes must outlive what we did not foresee
            self._fail(f"unexpected {type(problem).__name__}")
        else:
            self._succeed()
            return True
        return False

    def _succeed(self) -> None:
        self._failed_in_a_row = 0
        if self._trouble is not None:
            self._trouble = None
            log.info("the keys of %s can be fetched again", self._issuer)

    def _fail(self, trouble: str) -> None:
        self.failures += 1
        now = self._clock.uptime()
        back_off = min(2.0 ** min(self._failed_in_a_row, _MAX_DOUBLINGS), _MAX_BACK_OFF)
        self._due_at = now + max(self._spread(back_off), 1.0)
        self._failed_in_a_row += 1
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("the keys of %s cannot be fetched: %s", self._issuer, trouble)
        with self._lock:
            has_expired = self._keys is not None and now >= self.good_until
            if has_expired:
                self._keys = None
        if has_expired:
            self._on_change()

    def _fetch(self) -> None:
        if self._endpoints is None or self._clock.uptime() >= self._metadata_until:
            asked_at = self._clock.uptime()
            self._endpoints = self._read_metadata(self._ask_for_metadata())
            self._metadata_until = asked_at + _METADATA_SECONDS
        asked_at = self._clock.uptime()
        published = self._ask_for_keys(self._endpoints.jwks_uri)
        with self._lock:
            self._published = published
            self.good_until = asked_at + MAX_KEY_AGE
            self._select()
        self._current_until = asked_at + published.lifetime
        self._due_at = asked_at + self._spread(published.lifetime * _REFRESH_AHEAD)
        self._on_change()

    def _ask_for_metadata(self) -> bytes:
        response = self._get(self._places[0], _MAX_METADATA_BYTES)
        if response.status == 404:
            response = self._get(self._places[1], _MAX_METADATA_BYTES)
        if response.status != 200:
            raise _Refused(f"status {response.status} for the metadata")
        return response.body

    def _read_metadata(self, body: bytes) -> Endpoints:
        document = strict_json.loads_object(body)
        # RFC 8414 §3.3: otherwise one issuer could speak for another.
        if document.get("issuer") != self._issuer:
            # Not a secret, and what helps against a slash too many.
            raise _Refused(f"the metadata is of another issuer: {str(document.get('issuer'))[:200]!r}")
        jwks_uri = self._endpoint(document, "jwks_uri")
        if jwks_uri is None:
            raise _Refused("the metadata names no jwks_uri")
        return Endpoints(
            jwks_uri=jwks_uri,
            introspection_endpoint=self._endpoint(document, "introspection_endpoint"),
            revocations_endpoint=self._endpoint(document, "revocations_endpoint"),
        )

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str | None:
        url = document.get(name)
        if url is None:
            return None
        if not isinstance(url, str):
            raise _Refused(f"{name} is no text")
        # Keys and secrets travel there: a document got by TLS must not lead out of it.
        if split_url(url)[0].scheme == "http" and split_url(self._issuer)[0].scheme != "http":
            raise _Refused(f"{name} is not https")
        return url

    def _ask_for_keys(self, uri: str) -> _Published:
        known = self._published if self._published is not None and self._published.uri == uri else None
        condition = {} if known is None or known.etag is None else {"if-none-match": known.etag}
        response = self._get(uri, _MAX_JWKS_BYTES, condition)
        if response.status == 304 and known is not None and known.etag is not None:
            lifetime = lifetime_of(response.headers, known.lifetime)
            return _Published(uri, known.body, known.etag, known.keys, lifetime)
        if response.status == 404:
            # They may have moved.
            self._metadata_until = self._clock.uptime()
        if response.status != 200:
            raise _Refused(f"status {response.status} for the keys")
        keys = known.keys if known is not None and known.body == response.body else self._read_keys(response.body)
        etag = response.headers.get("etag", "")
        is_usable = len(etag) <= _MAX_ETAG_CHARS and _ETAG.fullmatch(etag)
        lifetime = lifetime_of(response.headers, _DEFAULT_LIFETIME)
        return _Published(uri, response.body, etag if is_usable else None, keys, lifetime)

    def _read_keys(self, body: bytes) -> Mapping[str, Key]:
        document = strict_json.loads_object(body)
        listed = document.get("keys")
        if isinstance(listed, list):
            # Who publishes a private key lets everybody sign with it.
            document["keys"] = [one for one in listed if isinstance(one, dict) and not _PRIVATE_MEMBERS & one.keys()]
        keys = KeySet.from_jwks(document)
        if not keys:
            raise _Refused("no usable key was published")
        former = {} if self._published is None else self._published.keys
        return {kid: _same(former.get(kid), key) for kid, key in keys.items()}

    def _select(self) -> bool:
        """Put what is published and not dropped in force; return whether that is a change. Under the lock."""
        published = {} if self._published is None else self._published.keys
        wanted = {kid: key for kid, key in published.items() if not self._is_dropped(kid)}
        if self._keys is not None and dict(self._keys) == wanted:
            return False
        self._keys = KeySet(wanted.values())
        return True

    def _is_dropped(self, kid: str) -> bool:
        until = self._dropped.get(kid)
        return until is not None and self._clock.now() < until

    def _spread(self, seconds: float) -> float:
        return seconds * (1 - _JITTER * self._random.random())

    def _get(self, url: str, max_bytes: int, condition: Mapping[str, str] | None = None) -> Response:
        headers = {"accept": "application/json, application/jwk-set+json", **(condition or {})}
        return self._transport.request("GET", url, headers=headers, timeout=_TIMEOUT, max_bytes=max_bytes)


def _well_known(issuer: str) -> tuple[str, str]:
    """Return where the metadata of an issuer is (RFC 8414 §3.1), and where else (OIDC Discovery §4)."""
    try:
        origin, path = split_url(issuer)
    except TransportError:
        origin = None
    if origin is None or "?" in issuer:
        raise ValueError("an issuer is an https URL without query and fragment (http on loopback)")
    base = f"{origin.scheme}://{origin.authority}"
    path = path.rstrip("/")
    return (
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}{path}/.well-known/openid-configuration",
    )


def _same(former: Key | None, key: Key) -> Key:
    """Return the former key if it is the same: what was verified with it stays remembered."""
    return former if former is not None and former.public_jwk() == key.public_jwk() else key
