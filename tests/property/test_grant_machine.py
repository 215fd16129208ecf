"""Invariants I1 to I5, I9, I10 and I11 under whatever may happen, in any order, on every adapter."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.property.grant_machine import MACHINES
from tests.support.nodes import GrantsWithoutCompareAndSet

QUICK = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=600, stateful_step_count=60)


@pytest.mark.spec("A09", "A12", "R01", "R03", "R05", "R06", "R07", "R09", "V02", "V04", "V05", "N02")
@pytest.mark.parametrize("adapter", MACHINES)
def test_whatever_happens_the_invariants_hold(adapter: str) -> None:
    run_state_machine_as_test(MACHINES[adapter], settings=QUICK)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("adapter", MACHINES)
def test_whatever_happens_for_long_the_invariants_hold(adapter: str) -> None:
    run_state_machine_as_test(MACHINES[adapter], settings=LONG)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("adapter", MACHINES)
def test_the_machine_notices_that_compare_and_set_is_missing(adapter: str) -> None:
    """The checker is checked: with every step taken whatever the row has become, it must fail."""
    broken = type("Broken", (MACHINES[adapter],), {"grants_factory": GrantsWithoutCompareAndSet})
    with pytest.raises(AssertionError, match="no order of these explains what happened"):
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            broken, settings=settings(QUICK, max_examples=200, database=None, derandomize=True)
        )
