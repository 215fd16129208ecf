"""Invariant I7 over the pure key schedule: whatever operators do and however late the ticks come."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.authority import keys as schedule
from mintmark.authority.model import AuditEvent, SigningKey
from mintmark.authority.policy import Policy
from mintmark.jose.algorithms import Algorithm
from mintmark.storage.memory import MemoryStore

START: Final = 1_700_000_000
JWKS_LIFETIME: Final = 300
INTERVAL: Final = 3600
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")
POLICY = Policy(
    issuer="https://id.example",
    jwks_lifetime=JWKS_LIFETIME,
    key_rotation_interval=INTERVAL,
    signing_algorithms=("RS256", "ES256"),
)
LONGEST = POLICY.longest_token_lifetime


@dataclass(frozen=True)
class Wait:
    """Time passes without a tick."""

    seconds: int


@dataclass(frozen=True)
class Tick:
    """The upkeep, after ``seconds``; it comes late if they are many."""

    seconds: int


@dataclass(frozen=True)
class Rotate:
    """An operator brings the next key forward."""

    alg: Algorithm


@dataclass(frozen=True)
class Emergency:
    """An operator takes out one of the keys: which one, counted in the JWKS."""

    number: int


@dataclass(frozen=True)
class Configure:
    """The node starts again with other algorithms."""

    algorithms: tuple[Algorithm, ...]


Event = Wait | Tick | Rotate | Emergency | Configure

SECONDS = st.one_of(
    st.integers(1, 2 * JWKS_LIFETIME),
    st.sampled_from([JWKS_LIFETIME - 1, JWKS_LIFETIME, JWKS_LIFETIME + 1, INTERVAL - 1, INTERVAL, INTERVAL + 1]),
    st.sampled_from([3 * INTERVAL, LONGEST - 1, LONGEST, LONGEST + 61, 3 * LONGEST]),
)
CHOICES = st.lists(st.sampled_from(ALGORITHMS), min_size=1, max_size=3, unique=True).map(tuple)
CALM: st.SearchStrategy[Event] = st.one_of(
    SECONDS.map(Wait), SECONDS.map(Tick), SECONDS.map(Tick), st.sampled_from(ALGORITHMS).map(Rotate)
)
ANY: st.SearchStrategy[Event] = st.one_of(CALM, CALM, st.integers(0, 5).map(Emergency), CHOICES.map(Configure))


@dataclass
class Cache:
    """A JWKS that some verifier fetched, and until when it need not ask again."""

    until: int
    kids: frozenset[str]


@dataclass
class Installation:
    """One installation's schedule through time, watched at every instant at which something may change."""

    policy: Policy = POLICY
    now: int = START
    rows: list[SigningKey] = field(default_factory=list)
    made: int = 0
    seen_at: dict[str, int] = field(default_factory=dict)
    first_of_its_kind: set[str] = field(default_factory=set)
    last_signed_at: dict[str, int] = field(default_factory=dict)
    compromised: set[str] = field(default_factory=set)
    last_emergency: int = START - 10 * JWKS_LIFETIME
    caches: list[Cache] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.upkeep()

    def make(self, alg: Algorithm) -> SigningKey:
        self.made += 1
        return SigningKey(kid=f"{alg}-{self.made}", alg=alg, public_jwk={}, wrapped=b"", published_at=0, active_at=0)

    def put(self, changed: Iterable[SigningKey], why: str) -> None:
        known = {row.kid: row for row in self.rows}
        algorithms = {
            row.alg
            for row in self.rows
            if row.compromised or (row.active_at <= self.now and schedule.state(row, self.now) != "removed")
        }
        for row in changed:
            self.journal.append(f"t+{self.now - START} {why}: {_shown(row)}")
            if row.kid not in known:
                self.seen_at[row.kid] = self.now
                if row.alg not in algorithms and row.active_at == self.now:
                    self.first_of_its_kind.add(row.kid)
            known[row.kid] = row
        self.rows = list(known.values())

    def upkeep(self) -> None:
        self.put(schedule.upkeep(self.rows, self.policy, self.now, self.make), "upkeep")
        assert schedule.upkeep(self.rows, self.policy, self.now, self.make) == [], self.story("a second tick has work")
        self.rows = [row for row in self.rows if row.removed_at is None or row.removed_at > self.now]

    def happen(self, event: Event) -> None:
        match event:
            case Wait(seconds):
                self.go_on(seconds)
            case Tick(seconds):
                self.go_on(seconds)
                self.upkeep()
            case Rotate(alg):
                self.put(schedule.rotate(self.rows, alg, self.policy, self.now), "rotate")
                self.upkeep()
            case Emergency(number):
                self.emergency(number)
            case Configure(algorithms):
                self.policy = replace(self.policy, signing_algorithms=algorithms)
                self.journal.append(f"t+{self.now - START} configured: {' '.join(algorithms)}")
                self.upkeep()
        self.watch()

    def emergency(self, number: int) -> None:
        shown = schedule.published(self.rows, self.now)
        victim = shown[number % len(shown)]
        emergency = schedule.retire_emergency(self.rows, victim.kid, self.policy, self.now)
        assert emergency is not None
        self.put(emergency.changed, "emergency")
        self.compromised.add(victim.kid)
        self.last_emergency = self.now
        self.upkeep()
        revocation = emergency.revocation
        assert (revocation.kind, revocation.value) == ("kid", victim.kid)
        assert revocation.expires_at >= self.now + LONGEST
        if victim.alg in self.policy.signing_algorithms:
            at = emergency.signs_again_at
            assert schedule.active(self.rows, victim.alg, at) is not None, self.story(f"does not sign again at {at}")

    def go_on(self, seconds: int) -> None:
        """Let time pass, and look at each instant before and at which a key's state changes."""
        end = self.now + seconds
        instants = {at for row in self.rows for at in (row.active_at, row.retired_at, row.removed_at) if at is not None}
        instants |= {cache.until for cache in self.caches}
        for at in sorted({*(i - 1 for i in instants), *instants, end}):
            if self.now < at <= end:
                self.now = at
                self.watch()

    def watch(self) -> None:
        now = self.now
        shown = {row.kid for row in schedule.published(self.rows, now)}
        max_age = schedule.jwks_max_age(self.rows, self.policy, now)
        assert 1 <= max_age <= JWKS_LIFETIME
        self.caches = [cache for cache in self.caches if now < cache.until]
        self.caches.append(Cache(now + max_age, frozenset(shown)))
        for alg in self.policy.signing_algorithms:
            signing = schedule.active(self.rows, alg, now)
            if signing is None:
                is_calm = now >= self.last_emergency + JWKS_LIFETIME
                assert not is_calm, self.story(f"nothing signs with {alg}")
                continue
            self.last_signed_at[signing.kid] = now
            assert signing.kid not in self.compromised, self.story(f"{signing.kid} is compromised and signs")
            if signing.kid in self.first_of_its_kind:
                continue
            since = now - self.seen_at[signing.kid]
            assert since >= JWKS_LIFETIME, self.story(f"{signing.kid} signs {since} s after it was published")
            assert all(signing.kid in cache.kids for cache in self.caches), self.story(f"a cache misses {signing.kid}")
        for kid, signed_at in self.last_signed_at.items():
            if kid not in self.compromised and now < signed_at + LONGEST:
                assert kid in shown, self.story(f"a token of {kid} is alive and its key is gone")
        assert not shown & self.compromised, self.story("a compromised key is published")
        for alg in ALGORITHMS:
            waiting = [row for row in self.rows if row.alg == alg and schedule.state(row, now) == "published"]
            assert len(waiting) <= 2, self.story(f"{len(waiting)} successors of {alg}")
            # Two only in a row: a compromised or a returning algorithm's next key, and the one after it.
            line = sorted(waiting, key=lambda row: row.active_at)
            assert [row.retired_at for row in line[:-1]] == [row.active_at for row in line[1:]], self.story("a fork")

    def story(self, what: str) -> str:
        rows = [f"  row: {_shown(row)}" for row in self.rows]
        return "\n".join([f"at t+{self.now - START}: {what}", *(f"  {line}" for line in self.journal), *rows])


def _shown(row: SigningKey) -> str:
    instants = {
        name: "-" if at is None else f"t+{at - START}"
        for name, at in (
            ("published", row.published_at),
            ("active", row.active_at),
            ("retired", row.retired_at),
            ("removed", row.removed_at),
        )
    }
    return f"{row.kid} {' '.join(f'{name} {at}' for name, at in instants.items())}"


def live(events: Sequence[Event]) -> Installation:
    installation = Installation()
    installation.watch()
    for event in events:
        installation.happen(event)
    return installation


@pytest.mark.spec("I7", "K02", "K03")
@settings(max_examples=150, deadline=None, print_blob=True)
@given(st.lists(ANY, max_size=15))
def test_no_cache_misses_a_key_and_no_token_outlives_its_key(events: list[Event]) -> None:
    live(events)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=5000, deadline=None, print_blob=True)
@given(st.lists(ANY, max_size=40))
def test_no_cache_misses_a_key_and_no_token_outlives_its_key_for_long(events: list[Event]) -> None:
    live(events)


@pytest.mark.spec("I7")
@settings(max_examples=50, deadline=None, print_blob=True)
@given(st.lists(CALM, max_size=25))
def test_without_emergencies_something_always_signs(events: list[Event]) -> None:
    installation = live(events)
    for alg in POLICY.signing_algorithms:
        assert schedule.active(installation.rows, alg, installation.now) is not None


@pytest.mark.spec("I7")
def test_an_algorithm_that_comes_back_signs_at_once() -> None:
    live([Tick(1000), Configure(("RS256",)), Tick(1000), Configure(("RS256", "ES256")), Tick(60)])


@pytest.mark.spec("I7")
def test_after_two_emergencies_in_a_row_the_wait_is_no_longer_than_after_one() -> None:
    """The standby was late, and the key made in its place is compromised before it signs."""
    live([Wait(3 * INTERVAL), Emergency(0), Emergency(1), Wait(JWKS_LIFETIME)])


@pytest.mark.spec("I7")
def test_a_compromised_key_is_replaced_by_the_published_successor_at_once() -> None:
    installation = live([Tick(JWKS_LIFETIME)])
    victim = schedule.active(installation.rows, "ES256", installation.now)
    assert victim is not None
    emergency = schedule.retire_emergency(installation.rows, victim.kid, POLICY, installation.now)
    assert emergency is not None
    assert emergency.signs_again_at == installation.now
    installation.put(emergency.changed, "emergency")
    signing = schedule.active(installation.rows, "ES256", installation.now)
    assert signing is not None
    assert signing.kid != victim.kid


@pytest.mark.spec("I7")
def test_an_emergency_of_a_key_that_is_unknown_or_gone_does_nothing() -> None:
    installation = live([])
    assert schedule.retire_emergency(installation.rows, "nobody's", POLICY, START) is None
    gone = replace(installation.rows[0], removed_at=START)
    assert schedule.retire_emergency([gone], gone.kid, POLICY, START) is None


SKEWS = (5, -5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 1)),
        st.tuples(st.just("write"), st.integers(0, 1)),
        st.tuples(st.just("both"), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.one_of(st.integers(1, 12), SECONDS)),
    ),
    max_size=30,
)


@pytest.mark.spec("I7", "I9")
@settings(max_examples=150, deadline=None, print_blob=True)
@given(STEPS)
def test_two_nodes_with_skewed_clocks_never_make_two_successors(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_two_nodes(steps))


async def _two_nodes(steps: list[tuple[str, int]]) -> None:
    """Two nodes read and write in any order; what the slower one read may be old when it writes."""
    keys = MemoryStore().keys
    made = 0
    now = START
    read: list[tuple[list[SigningKey], list[SigningKey]] | None] = [None, None]

    def make(alg: Algorithm) -> SigningKey:
        nonlocal made
        made += 1
        return SigningKey(kid=f"{alg}-{made}", alg=alg, public_jwk={}, wrapped=b"", published_at=0, active_at=0)

    async def do_read(node: int) -> None:
        rows = await keys.signing_keys()
        read[node] = rows, schedule.upkeep(rows, POLICY, now + SKEWS[node], make)

    async def do_write(node: int) -> None:
        found, read[node] = read[node], None
        if found is not None and found[1]:
            await keys.change(*found, audit=AuditEvent(at=now, event="keys.scheduled"))

    for verb, value in steps:
        if verb == "wait":
            now += value
        if verb in {"read", "both"}:
            await do_read(value)
        if verb in {"write", "both"}:
            await do_write(value)
        rows = await keys.signing_keys()
        for alg in POLICY.signing_algorithms:
            line = sorted((row for row in rows if row.alg == alg), key=lambda row: row.active_at)
            # One line without a fork: each retires exactly when the next one becomes active, and one is open-ended.
            assert [row.retired_at for row in line[:-1]] == [row.active_at for row in line[1:]], line
            assert all(row.retired_at is None for row in line[-1:])
            for node_now in (now + skew for skew in SKEWS):
                waiting = [row for row in line if schedule.state(row, node_now) == "published"]
                assert len(waiting) <= 2, line  # at the other node's instant of publication, for ten seconds
            waiting = [row for row in line if row.active_at > now + max(SKEWS)]
            assert len(waiting) <= 1, line
