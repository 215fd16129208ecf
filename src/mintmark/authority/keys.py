"""The key schedule: which key signs, which are published, and what to change next. Pure (ADR 0004, 0016).

Rules:
1. A key's state is a function of its instants and the clock; nodes agree without talking.
2. No key signs before every JWKS cache may have seen it: ``active_at >= published_at + jwks_lifetime``. The very
   first key of an algorithm is the exception: no cache can hold an older set.
3. A key stays published until the last token it signed is dead.
4. There is always a published successor, so that a compromised key can be replaced at once without breaking rule 2.
5. A key without a successor goes on signing: a tick that comes late costs nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from mintmark.authority.model import SigningKey
from mintmark.authority.policy import Policy
from mintmark.jose.algorithms import Algorithm
from mintmark.oauth.revocations import Revocation

State = Literal["published", "active", "retired", "removed"]

SIGNING_SLACK: Final = 60
"""Seconds a node may go on signing with the key it knows before it hears of a change."""

MakeKey = Callable[[Algorithm], SigningKey]
"""Makes a fresh key whose instants are still 0."""


def state(key: SigningKey, now: int) -> State:
    """Return the state of ``key`` at ``now`` (rule 1)."""
    if key.removed_at is not None and now >= key.removed_at:
        return "removed"
    if key.retired_at is not None and now >= key.retired_at:
        return "retired"
    return "active" if now >= key.active_at else "published"


def active(keys: Iterable[SigningKey], alg: Algorithm, now: int) -> SigningKey | None:
    """Return the key that signs with ``alg`` at ``now``, or ``None`` while there is none."""
    candidates = [key for key in keys if key.alg == alg and state(key, now) == "active"]
    return max(candidates, key=lambda key: (key.active_at, key.kid), default=None)


def published(keys: Iterable[SigningKey], now: int) -> list[SigningKey]:
    """Return the keys of the JWKS at ``now``: the signing ones first, newest first, so that naive readers pick well."""
    shown = [key for key in keys if state(key, now) != "removed"]
    order = {"active": 0, "published": 1, "retired": 2, "removed": 3}
    return sorted(shown, key=lambda key: (order[state(key, now)], -key.published_at, key.kid))


def jwks_max_age(keys: Iterable[SigningKey], policy: Policy, now: int) -> int:
    """Return for how many seconds the JWKS served at ``now`` may be cached.

    At most ``jwks_lifetime``, the time each new key is published before it signs, and never past the moment when
    a key leaves the set or the next successor is due.
    """
    ahead = [at - now for key in keys for at in (key.active_at, key.removed_at) if at is not None and at > now]
    return max(1, min([policy.jwks_lifetime, *ahead]))


def upkeep(keys: Sequence[SigningKey], policy: Policy, now: int, make: MakeKey) -> list[SigningKey]:
    """Return the rows to insert or replace so that every algorithm has a signing key and a published successor.

    Empty if all is well, which is the usual answer. Keys of an algorithm no longer configured retire.
    """
    changed: list[SigningKey] = []
    for alg in policy.signing_algorithms:
        changed += _upkeep_of([key for key in keys if key.alg == alg], alg, policy, now, make)
    for key in keys:
        if key.alg not in policy.signing_algorithms and key.retired_at is None:
            changed.append(replace(key, retired_at=now, removed_at=now + _afterlife(policy)))
    return changed


def _upkeep_of(keys: Sequence[SigningKey], alg: Algorithm, policy: Policy, now: int, make: MakeKey) -> list[SigningKey]:
    last = max(
        (key for key in keys if key.retired_at is None and not key.compromised),
        key=lambda key: key.active_at,
        default=None,
    )
    if last is None:
        known = [key for key in keys if state(key, now) != "removed" and not key.compromised]
        if known:
            # The algorithm was taken out of the settings and comes back: caches still have the key that signed last, or
            # the one that was to sign next.
            signed = [key for key in known if key.active_at <= now]
            back = max(signed, key=_due) if signed else min(known, key=_due)
            due = min(back.active_at, max(now, back.published_at + policy.jwks_lifetime))
            return _successor_of(replace(back, active_at=due), policy, now, make)
        # Rule 2: an empty set may sign at once; otherwise (all compromised) caches exist and must learn of it first.
        wait = policy.jwks_lifetime if any(key.compromised for key in keys) else 0
        first = replace(make(alg), published_at=now, active_at=now + wait)
        return _successor_of(first, policy, now, make)
    return _successor_of(last, policy, now, make) if now >= last.active_at else []


def _due(key: SigningKey) -> tuple[int, str]:
    return key.active_at, key.kid


def _successor_of(key: SigningKey, policy: Policy, now: int, make: MakeKey) -> list[SigningKey]:
    """Publish the successor of ``key`` now, due when ``key`` has signed for a rotation interval (rule 4)."""
    due = max(key.active_at + policy.key_rotation_interval, now + policy.jwks_lifetime)
    successor = replace(make(key.alg), published_at=now, active_at=due)
    return [_retire(key, due, policy), successor]


def rotate(keys: Sequence[SigningKey], alg: Algorithm, policy: Policy, now: int) -> list[SigningKey]:
    """Bring the published successor of ``alg`` forward to the first instant rule 2 allows."""
    successor = _published_successor(keys, alg, now)
    if successor is None:
        return []
    due = min(successor.active_at, max(now, successor.published_at + policy.jwks_lifetime))
    current = active(keys, alg, now)
    changed = [replace(successor, active_at=due)]
    return changed if current is None else [_retire(current, due, policy), *changed]


@dataclass(frozen=True, slots=True)
class Emergency:
    """What an emergency retirement does: rows to change, and the entry that makes verifiers drop the key."""

    changed: list[SigningKey]
    revocation: Revocation
    signs_again_at: int


def retire_emergency(keys: Sequence[SigningKey], kid: str, policy: Policy, now: int) -> Emergency | None:
    """Take a compromised key out at once; its successor, which caches know already, takes over (invariant I7).

    ``None`` if there is no such key or it is gone already.
    """
    victim = next((key for key in keys if key.kid == kid and state(key, now) != "removed"), None)
    if victim is None:
        return None
    dead = replace(victim, retired_at=min(now, victim.retired_at or now), removed_at=now, compromised=True)
    others = [key for key in keys if key.kid != kid]
    changed = [dead]
    if state(victim, now) == "active":
        changed += rotate(others, victim.alg, policy, now)
    elif state(victim, now) == "published":
        # The key that signs has lost its successor: it goes on (rule 5) and upkeep publishes another.
        signing = [
            replace(key, retired_at=None, removed_at=None)
            for key in others
            if key.alg == victim.alg and key.retired_at == victim.active_at and not key.compromised
        ]
        # Where none signs (it was compromised as well), the key after the victim takes its place.
        changed += signing or rotate(others, victim.alg, policy, now)
    after = {key.kid: key for key in [*others, *changed]}.values()
    signs = [key.active_at for key in after if key.alg == victim.alg and not key.compromised and key.retired_at is None]
    revocation = Revocation(
        kind="kid", value=kid, expires_at=now + policy.longest_token_lifetime + policy.jwks_lifetime
    )
    return Emergency(changed, revocation, max(now, min(signs, default=now + policy.jwks_lifetime)))


def _published_successor(keys: Iterable[SigningKey], alg: Algorithm, now: int) -> SigningKey | None:
    waiting = [key for key in keys if key.alg == alg and state(key, now) == "published" and not key.compromised]
    return min(waiting, key=lambda key: key.active_at, default=None)


def _retire(key: SigningKey, at: int, policy: Policy) -> SigningKey:
    return replace(key, retired_at=at, removed_at=at + _afterlife(policy))


def _afterlife(policy: Policy) -> int:
    """Seconds from a key's retirement until no token it signed can be alive (rule 3)."""
    return policy.longest_token_lifetime + SIGNING_SLACK
