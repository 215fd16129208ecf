"""From a history to what was wrong in it. Pure.

Nothing is taken on trust: a client's word counts for what it was answered, the database's for what it kept. What was
under way at the same time may have happened in either order; only what was over before another thing began came first.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from tests.chaos.history import Attempt, History, Revocation, Sighting

from mintmark.verifier.source import STALE_AFTER

LIVE_BOUND: Final = 2.0
"""Seconds from the answer to a revocation until every verifier that hears the feed rejects; cores may be busy."""

NODE_SILENCE: Final = 6.0
"""Seconds for which a node that cannot read its store any more still sends heartbeats (docs/operating.md)."""

LOST_BOUND: Final = NODE_SILENCE + STALE_AFTER + LIVE_BOUND
"""Seconds until every verifier rejects, or knows that it is stale and denies, whatever has gone wrong."""

SETTLING: Final = 12.0
"""Seconds after a fault in which verifiers may still be on their way back: the longest pause is 11.25."""

Kind = Literal[
    "lost session",
    "double lineage",
    "revoked token accepted",
    "false invalid_grant",
    "refreshed after revocation",
    "forgotten by the store",
    "false rejection",
    "strange answer",
]
KINDS: Final[tuple[Kind, ...]] = (
    "lost session",
    "double lineage",
    "revoked token accepted",
    "false invalid_grant",
    "refreshed after revocation",
    "forgotten by the store",
    "false rejection",
    "strange answer",
)

_CLIENT_HAS_TO_ASK_AGAIN: Final = ("429", "502", "503", "504")


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen has happened."""

    kind: Kind
    what: str


def check(history: History) -> list[Violation]:
    """Return everything that was wrong."""
    found: list[Violation] = []
    ended = _by_grant(one for one in history.revocations if one.access_token is None)
    for grant, attempts in _grouped(history.attempts).items():
        endings = ended.get(grant, [])
        found += _strange_answers(attempts)
        found += _refusals(grant, attempts, endings)
        found += _branches(grant, attempts)
        found += _after_revocation(grant, attempts, endings)
    found += _forgotten(history, ended)
    found += _false_rejections(history)
    found += [
        Violation(
            "revoked token accepted",
            f"{one.access_token} of grant {one.grant} by {one.verifier} {lag:.1f} s after; allowed are {bound:.0f} s",
        )
        for one, lag, bound in lags(history)
        if lag > bound
    ]
    return found


def lags(history: History) -> Iterator[tuple[Sighting, float, float]]:
    """Yield how long revoked tokens were still accepted, seconds after the answer, and for how long they might be."""
    revoked = _by_grant(history.revocations)
    for one in history.sightings:
        done = [
            revocation.done_at
            for revocation in revoked.get(one.grant, [])
            if revocation.done_at is not None and revocation.access_token in {None, one.access_token}
        ]
        if done and one.accepted_at is not None:
            first = min(done)
            yield one, max(0.0, one.accepted_at - first), LIVE_BOUND if is_calm(history, first) else LOST_BOUND


def is_calm(history: History, at: float) -> bool:
    """Tell whether nothing was wrong at that time, nor shortly before or after."""
    return all(trouble.ended_at + SETTLING < at or at + LIVE_BOUND < trouble.began_at for trouble in history.troubles)


def worst_gap(history: History) -> float:
    """Return the longest time for which a client could not refresh, seconds: from its first request to the answer."""
    longest = 0.0
    revoked = _by_grant(one for one in history.revocations if one.access_token is None)
    for grant, attempts in _grouped(history.attempts).items():
        own = [one for one in attempts if one.by == "client"]
        for _, presented in groupby(own, key=lambda one: one.generation):
            tries = list(presented)
            over_at = min((one.over_at for one in tries if one.outcome == "rotated"), default=tries[-1].over_at)
            if not any(one.asked_at <= over_at for one in revoked.get(grant, [])):
                longest = max(longest, over_at - tries[0].sent_at)
    return longest


def _strange_answers(attempts: Sequence[Attempt]) -> Iterator[Violation]:
    """Invariant I4: what cannot be decided is 503; a 500, or a 4xx to a good request, is a fault of ours."""
    for one in attempts:
        if one.outcome == "unknown" and one.answer[:1].isdigit() and one.answer[:3] not in _CLIENT_HAS_TO_ASK_AGAIN:
            yield Violation("strange answer", f"grant {one.grant}: {one.answer}")


def _refusals(grant: str, attempts: Sequence[Attempt], endings: Sequence[Revocation]) -> Iterator[Violation]:
    """Nobody is refused, and nobody is without a session in the end, unless somebody has ended the grant."""
    asked_at = min((one.asked_at for one in endings), default=float("inf"))
    false = [one for one in attempts if one.outcome == "refused" and one.over_at < asked_at]
    if false:
        first = false[0]
        yield Violation(
            "false invalid_grant", f"grant {grant} at generation {first.generation}, {len(false)} times: {first.answer}"
        )
    own = [one for one in attempts if one.by == "client"]
    last = [one for one in own if one.generation == max(other.generation for other in own)]
    if last and not endings and all(one.outcome != "rotated" for one in last):
        yield Violation(
            "lost session", f"grant {grant} at generation {last[-1].generation}: {last[-1].answer} in the end"
        )


def _branches(grant: str, attempts: Sequence[Attempt]) -> Iterator[Violation]:
    """Invariants I1, I2: one successor per token, and none for a token whose successor has been used."""
    successors: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for one in attempts:
        if one.successor is not None:
            successors[one.generation].add(one.successor)
    for generation, found in successors.items():
        if len(found) > 1 or any(successor != generation + 1 for _, successor in found):
            yield Violation("double lineage", f"grant {grant} at generation {generation} got {sorted(found)}")
    rotated = sorted((one for one in attempts if one.outcome == "rotated"), key=lambda one: one.over_at)
    for one in rotated:
        used = [other for other in rotated if other.over_at < one.sent_at and other.generation > one.generation]
        if used:
            yield Violation(
                "double lineage",
                f"grant {grant}: generation {one.generation} rotated for a {one.by} when {used[-1].generation} had been",
            )


def _after_revocation(grant: str, attempts: Sequence[Attempt], endings: Sequence[Revocation]) -> Iterator[Violation]:
    """Invariant I6: once the end of a grant was answered, no node issues from it."""
    done_at = min((one.done_at for one in endings if one.done_at is not None), default=float("inf"))
    for one in attempts:
        if one.outcome == "rotated" and one.sent_at > done_at:
            late = one.sent_at - done_at
            yield Violation("refreshed after revocation", f"grant {grant}, {late:.1f} s after it was answered")


def _forgotten(history: History, ended: dict[str, list[Revocation]]) -> Iterator[Violation]:
    """What was answered is on the disk."""
    acknowledged: dict[str, int] = defaultdict(int)
    for one in history.attempts:
        if one.successor is not None:
            acknowledged[one.grant] = max(acknowledged[one.grant], one.successor[1])
    missing = acknowledged.keys() - {row.grant for row in history.kept} - ended.keys() if history.kept else ()
    yield from (Violation("forgotten by the store", f"grant {grant} is gone") for grant in sorted(missing))
    for row in history.kept:
        if row.fast_forwards:
            # No database of this run ever went back: what its client had was live, and what the row said was as well.
            what = f"grant {row.grant} was behind its client {row.fast_forwards} times"
            yield Violation("double lineage", what)
        if row.generation < acknowledged[row.grant]:
            what = f"grant {row.grant} is at {row.generation}, its client at {acknowledged[row.grant]}"
            yield Violation("forgotten by the store", what)
        if not row.has_ended and any(one.done_at is not None for one in ended.get(row.grant, [])):
            yield Violation("forgotten by the store", f"grant {row.grant} lives on, its revocation was answered")


def _false_rejections(history: History) -> Iterator[Violation]:
    """A verifier rejects nothing but what somebody has taken back, or what is over."""
    revoked = _by_grant(history.revocations)
    for one in history.sightings:
        if one.rejected_at is None:
            continue
        if one.code == "expired" and one.expires_at is not None and one.rejected_at >= one.expires_at:
            continue
        if not any(
            revocation.asked_at <= one.rejected_at and revocation.access_token in {None, one.access_token}
            for revocation in revoked.get(one.grant, [])
        ):
            yield Violation("false rejection", f"{one.access_token} of grant {one.grant} by {one.verifier}: {one.code}")


def _grouped(attempts: Sequence[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for one in sorted(attempts, key=lambda one: one.sent_at):
        found[one.grant].append(one)
    return found


def _by_grant(revocations: "Iterator[Revocation] | Sequence[Revocation]") -> dict[str, list[Revocation]]:
    found: dict[str, list[Revocation]] = defaultdict(list)
    for one in revocations:
        found[one.grant].append(one)
    return found
