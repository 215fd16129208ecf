"""What goes wrong when: drawn from a seed, so that a run can be had again."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

NODES: Final = 3
MOST_SKEW: Final = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong for a while.

    Attributes:
        pause: Seconds after what was before it in its lane is undone.
        seconds: For how long; what was ended may take longer to be there again.
        kind: What.
        node: Which node it befalls; ``None`` for what all nodes share.
        skew: By how many seconds the clock is set.
    """

    pause: float
    seconds: float
    kind: str
    node: int | None = None
    skew: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """Faults of which one is over before the next begins; those of different lanes overlap.

    Attributes:
        kinds: With the least and the greatest length, seconds.
        pauses: Between two faults, likewise.
        is_of_nodes: Whether they befall one node each.
    """

    kinds: Mapping[str, tuple[float, float]]
    pauses: tuple[float, float]
    is_of_nodes: bool = True


LANES: Final = (
    Lane(
        {
            "kill -9 of a node": (0.1, 2.0),
            "SIGSTOP of a node": (1.0, 8.0),
            "SIGTERM to a node": (0.1, 1.0),
            "clock of a node set": (2.0, 6.0),
        },
        (0.5, 2.0),
    ),
    Lane(
        {
            "PostgreSQL connections of a node cut": (0.1, 3.0),
            "PostgreSQL swallowed for a node": (0.5, 6.0),
            "Redis connections of a node cut": (0.1, 3.0),
            "Redis swallowed for a node": (0.5, 6.0),
            "cable of a node pulled": (0.5, 6.0),
        },
        (0.5, 2.0),
    ),
    Lane(
        {
            "PostgreSQL stopped at once": (0.1, 1.5),
            "kill -9 of Redis": (0.1, 2.0),
            "FLUSHALL": (0.0, 0.0),
        },
        (2.0, 4.0),
        is_of_nodes=False,
    ),
)
"""What happens to processes, to networks and to stores."""


def plan(seed: int, seconds: float) -> list[list[Fault]]:
    """Return the faults of each lane, in order, enough for so many seconds. No kind comes twice before all came."""
    chance = random.Random(seed)
    return [list(_faults(lane, chance, seconds)) for lane in LANES]


def _faults(lane: Lane, chance: random.Random, seconds: float) -> Iterator[Fault]:
    left = seconds
    while True:
        for kind in chance.sample(list(lane.kinds), len(lane.kinds)):
            pause, length = chance.uniform(*lane.pauses), chance.uniform(*lane.kinds[kind])
            left -= pause
            if left <= 0:
                return
            left -= length
            node = chance.randrange(NODES) if lane.is_of_nodes else None
            skew = chance.choice((-MOST_SKEW, MOST_SKEW)) if kind == "clock of a node set" else 0
            yield Fault(pause, length, kind, node, skew)
