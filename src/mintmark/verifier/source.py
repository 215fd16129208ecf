"""One issuer as its verifier knows it: its keys, its revocations, and how fresh they are.

Two background threads keep it up to date, from the first use until it is closed: one refreshes the keys, one reads the
revocation feed. Whoever verifies reads what is there. After a fork the child starts its own.
"""

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from mintmark.jose.jwk import KeySet
from mintmark.oauth.revocations import RevocationTable, WireEntry
from mintmark.verifier.errors import VerifierUnavailable
from mintmark.verifier.feed import FeedFollower, FeedRefused
from mintmark.verifier.introspection import Introspector
from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import Clock, Transport, TransportError

STALE_AFTER: Final = 15.0
"""Seconds of silence after which revocations may have been missed; a live feed is heard every five."""

_TICK: Final = 1.0
_CLOCK_STEP: Final = 1.0
_START_PATIENCE: Final = 3.0
"""Seconds the first request waits for the revocations; without them a revoked token could slip through at the start."""

log = logging.getLogger("mintmark.verifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authority that is trusted, and what for.

    Attributes:
        url: The issuer identifier, exactly as in its metadata and its tokens.
        audience: The names this service goes by; a token has to be meant for one of them.
        client_id: What this service is registered as there; it is needed to hear of revocations and to introspect.
        client_secret: Its secret.
    """

    url: str
    audience: str | Iterable[str]
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret go together: give both, or neither")
        if self.client_id == "" or self.client_secret == "":
            raise ValueError("client_id or client_secret is empty")
        # An iterator would be used up by the first who looks.
        object.__setattr__(self, "audience", self.names)
        if not self.names:
            raise ValueError("audience is empty: name what this service is called in the `aud` of its tokens")

    @property
    def names(self) -> frozenset[str]:
        """The audience as a set."""
        return frozenset([self.audience] if isinstance(self.audience, str) else self.audience) - {""}


class _NoFeed:
    """Stands in for a feed where none is followed: there is nothing that could be stale."""

    fresh_until = inf


class State:
    """What was known of an issuer for a while; over as soon as keys, revocations or the clock change.

    Attributes:
        keys: Its keys.
        fresh_until: Uptime until which this is all there is to look at: the keys are not too old, and nothing can have
            changed unheard. Minus infinity once it is over, and while nobody keeps it up to date.
    """

    __slots__ = ("fresh_until", "keys")

    def __init__(self, keys: KeySet | None, fresh_until: float) -> None:
        self.keys = keys
        self.fresh_until = fresh_until


class Source:
    """What is known of one issuer.

    Attributes:
        state: Another object whenever keys, revocations or the clock have changed.
        is_prepared: Whether the first revocations were waited for, or need not be.
        unreachable_until: Uptime until which it is not worth while to ask the issuer.
        feed: The revocation feed; its ``fresh_until`` tells until when the revocations count as fresh.
    """

    def __init__(self, issuer: Issuer, *, transport: Transport, clock: Clock, leeway: int) -> None:
        self.issuer = issuer.url
        self.audience = issuer.names
        self.state = State(None, -inf)
        self.table = RevocationTable()
        self.keys = KeyKeeper(issuer.url, transport, clock, on_change=self.renew_state)
        self.follower: FeedFollower | None = None
        self.introspector: Introspector | None = None
        self.times_stale = 0
        self.unreachable_until = -inf
        self._clock = clock
        self._is_background = True
        self._is_said_stale = False
        self.is_prepared = False
        self._preparing_since = inf
        self._offset = clock.now() - clock.uptime()
        self._reset()
        if issuer.client_id is not None and issuer.client_secret is not None:
            self.follower = FeedFollower(
                url_of=lambda: self.keys.endpoints.revocations_endpoint if self.keys.endpoints is not None else None,
                client_id=issuer.client_id,
                client_secret=issuer.client_secret,
                transport=transport,
                clock=clock,
                table=self.table,
                on_entries=self._revoked,
                on_fresh=self._heard,
                stale_after=STALE_AFTER,
            )
            self.introspector = Introspector(
                url_of=lambda: self.keys.endpoints.introspection_endpoint if self.keys.endpoints is not None else None,
                client_id=issuer.client_id,
                client_secret=issuer.client_secret,
                transport=transport,
                issuer=issuer.url,
                audience=issuer.names,
                clock=clock,
                leeway=leeway,
            )
        self.feed: FeedFollower | _NoFeed = self.follower or _NoFeed()
        self.renew_state()
        _alive.add(self)

    @property
    def is_stale(self) -> bool:
        """Whether nothing was heard for so long that a revocation may have been missed."""
        return self._clock.uptime() >= self.feed.fresh_until

    def prepare(self) -> None:
        """Start the background threads, and wait a moment for the first keys and revocations.

        Raises:
            VerifierUnavailable: The threads cannot be started.
        """
        # Of all who come while there are no keys, one asks for them; after a failure nobody does for a while. If the
        # issuer hangs, the others must not wait for as long: tokens of another may be at hand.
        left = max(0.0, self._preparing_since + _START_PATIENCE - self._clock.uptime())
        if not self._starting.acquire(timeout=min(left, _START_PATIENCE)):
            return
        try:
            self._preparing_since = self._clock.uptime()
            self._start()
            if self.keys.keys is None and self.keys.due_in() <= 0:
                self.keys.refresh()
        finally:
            self._preparing_since = inf
            self._starting.release()
        if self.keys.keys is None:
            return
        if self.follower is not None and self._running and not self.is_prepared:
            self.follower.caught_up.wait(_START_PATIENCE)
        self._mark_prepared()

    def watch(self) -> bool:
        """Return whether the revocations are stale; say so once, and once that they are fresh again."""
        is_stale = self.is_stale
        if is_stale == self._is_said_stale:
            return is_stale
        with self._saying:
            if is_stale == self._is_said_stale:
                return is_stale
            self._is_said_stale = is_stale
            self.times_stale += is_stale
        if is_stale:
            log.warning("the revocation feed of %s is silent: revocations may be missed", self.issuer)
        else:
            log.info("the revocation feed of %s is back: nothing was missed", self.issuer)
        return is_stale

    def catch_up(self) -> None:
        """Do at once what the background threads do: keys if they are due, revocations until there are no more.

        Raises:
            RuntimeError: They do it already.
        """
        if self._running:
            raise RuntimeError("its background threads keep this verifier up to date already")
        self._is_background = False
        if self.keys.keys is None or self.keys.due_in() <= 0:
            self.keys.refresh()
        if self.follower is not None:
            try:
                self.follower.follow(until_caught_up=True)
            except (TransportError, FeedRefused) as problem:
                log.debug("the revocation feed of %s: %s", self.issuer, type(problem).__name__)
        self._mark_prepared()
        self.watch()
        self._watch_clock()

    def renew_state(self) -> None:
        """End the state, and begin another with what is known now."""
        with self._stating:
            over, self.state = self.state, State(self.keys.keys, self._fresh_until())
            over.fresh_until = -inf

    def metrics(self) -> dict[str, float]:
        """Return counters and gauges by name."""
        found: dict[str, float] = {
            "keys": len(self.keys.keys or ()),
            "key_fetches_total": self.keys.fetches,
            "key_fetch_failures_total": self.keys.failures,
            "revocations": len(self.table),
            "feed_stale": float(self.is_stale),
            "feed_stale_total": self.times_stale,
        }
        if self.follower is not None and self.introspector is not None:
            found |= {
                "feed_connects_total": self.follower.connects,
                "feed_failures_total": self.follower.failures,
                "feed_entries_total": self.follower.entries,
                "feed_unknown_entries_total": self.follower.unknown_entries,
                "introspections_total": self.introspector.asked,
                "introspection_failures_total": self.introspector.failures,
            }
        return found

    def close(self) -> None:
        """End the background threads."""
        self._stop.set()
        if self.follower is not None:
            self.follower.close()

    def reset_after_fork(self) -> None:
        """Forget the parent's threads and locks, keep what is known; the next request starts anew."""
        is_closed = self._stop.is_set()
        self._reset()
        if is_closed:
            self._stop.set()
        self.keys.reset_after_fork()
        if self.follower is not None:
            self.follower.reset_after_fork()
        if self.introspector is not None:
            self.introspector.reset_after_fork()
        # A thread of the parent may have been about to say so.
        self.renew_state()

    def _reset(self) -> None:
        self._starting = threading.Lock()
        self._saying = threading.Lock()
        self._stating = threading.Lock()
        self._stop = threading.Event()
        self._preparing_since = inf
        self._running: set[str] = set()
        self.is_prepared = False

    def _start(self) -> None:
        if not self._is_background or self._stop.is_set():
            return
        if self.follower is not None:
            self._run("mintmark-revocations", self.follower.run)
        self._run("mintmark-keys", self._keep_keys)

    def _run(self, name: str, work: Callable[[threading.Event], None]) -> None:
        if name in self._running:
            return
        try:
            threading.Thread(target=work, args=(self._stop,), name=name, daemon=True).start()
        except RuntimeError:
            raise VerifierUnavailable("no thread can be started") from None
        self._running.add(name)

    def _keep_keys(self, stop: threading.Event) -> None:
        while not stop.wait(_TICK):
            if self.keys.due_in() <= 0:
                self.keys.refresh()
            self.watch()
            self._watch_clock()

    def _watch_clock(self) -> None:
        """Have remembered results judged anew once the clock was set: they count on uptime."""
        offset = self._clock.now() - self._clock.uptime()
        if abs(offset - self._offset) > _CLOCK_STEP:
            self._offset = offset
            self.renew_state()

    def _revoked(self, entries: Sequence[WireEntry]) -> None:
        for entry in entries:
            if entry.kid is not None:
                self.keys.drop(entry.kid, entry.exp)
        self.renew_state()

    def _mark_prepared(self) -> None:
        if not self.is_prepared:
            self.is_prepared = True
            self.renew_state()

    def _heard(self) -> None:
        # Locked, or a state that another thread ends just now would be good again.
        with self._stating:
            self.state.fresh_until = self._fresh_until()

    def _fresh_until(self) -> float:
        return min(self.feed.fresh_until, self.keys.good_until) if self.is_prepared else -inf


_alive: Final["weakref.WeakSet[Source]"] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for source in list(_alive):
        source.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_reset_all_after_fork)
