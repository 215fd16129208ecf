"""Who does the work that must be done once: decided by what a lease looked like, and for how long. Pure (ADR 0026).

Rules:
1. No node's clock is compared with another's. A node watches the lease, and measures with a clock of its own, which
   nobody sets, for how long it has looked the same.
2. The holder renews it several times in ``LEASE_PATIENCE``; who sees it unchanged for that long may take it.
3. A lease that nobody holds, because it was given up or never was, is taken at once.
4. Each change of holder raises the fence. A write carries its lease, and the store refuses one that was lost: being
   wrong about who leads, after a pause or an outage, costs time and never correctness.
5. A node that comes back is another holder: what it wrote before it went is not its own any more.
"""

from dataclasses import dataclass, replace
from typing import Final

from mintmark.authority.ports import Lease

UPKEEP: Final = "upkeep"
"""The one lease: the key schedule and the cleanup are seconds of work an hour, nothing is gained by sharing them out."""

LEASE_PATIENCE: Final = 10.0
"""Seconds a lease has to look the same before another node takes it."""

RENEW_EVERY: Final = LEASE_PATIENCE / 3

_NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a lease looks like to one node.

    Attributes:
        lease: As last read; ``None`` if there is none.
        since: Since when it looks like that, in seconds of the node's own elapsed time.
    """

    lease: Lease | None
    since: float


def look(sight: Sight | None, lease: Lease | None, at: float) -> Sight:
    """Return what is known after ``lease`` was read at ``at``; ``sight`` is what was known before, if anything."""
    return sight if sight is not None and sight.lease == lease else Sight(lease, at)


def is_held_by(lease: Lease | None, holder: str) -> bool:
    """Tell whether ``holder`` has the lease."""
    return lease is not None and lease.holder == holder


def change(sight: Sight, holder: str, at: float) -> Lease | None:
    """Return the lease that ``holder`` should put in the place of the one it sees; ``None`` to leave that alone."""
    lease = sight.lease
    if lease is None:
        return Lease(name=UPKEEP, holder=holder, fence=1, beat=0)
    age = at - sight.since
    if lease.holder == holder:
        return replace(lease, beat=lease.beat + 1) if age >= RENEW_EVERY else None
    if lease.holder == _NOBODY or age >= LEASE_PATIENCE:
        return replace(lease, holder=holder, fence=lease.fence + 1, beat=0)
    return None


def given_up(lease: Lease) -> Lease:
    """Return ``lease`` as its holder leaves it for whoever comes next."""
    return replace(lease, holder=_NOBODY, beat=lease.beat + 1)
