"""The whole installation among faults; and what has to be reported when a guard is taken out of it."""

from pathlib import Path

import pytest
from tests.chaos.plan import LANES
from tests.chaos.run import Result, Setup, run
from tests.support.telling import tell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 569


def result_of(setup: Setup, folder: Path) -> Result:
    return run(setup, folder, print)


@pytest.mark.spec("invariant I1", "invariant I2", "invariant I3", "invariant I4", "invariant I6", "invariant I9")
def test_nothing_is_lost(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nodes, networks, PostgreSQL and Redis fail; 200 clients notice no more than a retry, 50 verifiers no revoked token."""
    result = result_of(Setup(seed=SEED), tmp_path)
    tell(request, "\n  ".join(["", f"seed {SEED}", *result.lines]))
    assert result.violations == []
    history = result.history
    # It was a run in earnest.
    assert {lane.kinds.keys() & {trouble.kind for trouble in history.troubles} != set() for lane in LANES} == {True}
    assert len({one.grant for one in history.attempts if one.outcome == "rotated"}) >= Setup(seed=SEED).clients
    assert any(one.done_at is not None for one in history.revocations)
    assert any(one.rejected_at is not None for one in history.sightings)


def small(*variants: str) -> Setup:
    """A run without faults."""
    return Setup(seed=SEED, seconds=0, clients=20, verifiers=6, variants=variants)


def test_without_compare_and_set_it_reports_double_lineages(tmp_path: Path) -> None:
    result = result_of(small(*["without compare-and-set"] * 3), tmp_path)
    kinds = {violation.kind for violation in result.violations}
    assert "double lineage" in kinds
    assert kinds <= {"double lineage", "forgotten by the store"}, result.violations


def test_with_compare_and_set_the_same_slowness_does_no_harm(tmp_path: Path) -> None:
    result = result_of(small(*["slow"] * 3), tmp_path)
    assert result.violations == []
    assert any(one.outcome == "unknown" for one in result.history.attempts), "some were too slow for their clients"


def test_a_node_that_hears_of_no_revocation_is_reported(tmp_path: Path) -> None:
    result = result_of(small("deaf", "whole", "whole"), tmp_path)
    assert {violation.kind for violation in result.violations} == {"revoked token accepted"}
