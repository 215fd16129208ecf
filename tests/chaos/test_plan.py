"""What goes wrong is decided by the seed."""

import pytest
from tests.chaos.faults import ACTS
from tests.chaos.plan import LANES, MOST_SKEW, NODES, plan

SECONDS = 120.0


def test_the_same_seed_is_the_same_run() -> None:
    assert plan(1, SECONDS) == plan(1, SECONDS)
    assert plan(1, SECONDS) != plan(2, SECONDS)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan(seed: int) -> None:
    for lane, faults in zip(LANES, plan(seed, SECONDS), strict=True):
        assert {fault.kind for fault in faults} == set(lane.kinds), "every kind comes"
        for fault in faults:
            shortest, longest = lane.kinds[fault.kind]
            assert lane.pauses[0] <= fault.pause <= lane.pauses[1]
            assert shortest <= fault.seconds <= longest
            assert (fault.node in range(NODES)) is lane.is_of_nodes
            assert abs(fault.skew) <= MOST_SKEW
        *others, _ = faults
        assert sum(fault.pause + fault.seconds for fault in others) < SECONDS


def test_every_kind_can_be_inflicted() -> None:
    assert {kind for lane in LANES for kind in lane.kinds} == set(ACTS)
