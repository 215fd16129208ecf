"""What a run prints."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.chaos.checker import KINDS, LIVE_BOUND, LOST_BOUND, Violation, is_calm, lags, worst_gap
from tests.chaos.history import History

_SHOWN = 10


def lines(history: History, violations: Sequence[Violation], answers: Mapping[str, int]) -> list[str]:
    """Return the lines of the report; the numbers that have to be 0 come last."""
    done = [one for one in history.revocations if one.done_at is not None]
    calm = sum(is_calm(history, one.done_at or 0) for one in done)
    grants, verifiers = {one.grant for one in history.attempts}, {one.verifier for one in history.sightings}
    rotated = sum(one.outcome == "rotated" for one in history.attempts)
    by_kind = Counter(one.kind for one in violations)
    found = list(lags(history))
    live, lost = ([lag for _, lag, allowed in found if allowed == bound] for bound in (LIVE_BOUND, LOST_BOUND))
    return [
        f"requests: {len(history.attempts)} to refresh {len(grants)} grants, {rotated} rotated; {_counted(answers)}",
        f"faults: {len(history.troubles)}; {_counted(Counter(one.kind for one in history.troubles))}",
        f"revocations: {len(done)} answered, {calm} while nothing was wrong; heard by {len(verifiers)} verifiers",
        f"accepted after a revocation: {max(live, default=0):.2f} s while nothing was wrong (bound {LIVE_BOUND:.0f} s)",
        f"accepted after a revocation: {max(lost, default=0):.2f} s among faults (bound {LOST_BOUND:.0f} s)",
        f"worst client-visible gap: {worst_gap(history):.2f} s",
        *(f"{kind}: {by_kind[kind]}" for kind in KINDS),
        *(f"  {one.kind}: {one.what}" for one in violations[:_SHOWN]),
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items(), key=lambda item: -item[1]))
