"""Invariants I1 to I5, I9, I10 and I11 under whatever may happen, in any order, on every adapter."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from tests.property.grant_machine import MACHINES, GrantMachine
from tests.property.grant_model import Act, Outcome
from tests.support.nodes import GrantsWithoutCompareAndSet

# Different examples in each run; a failure prints the steps, shrunk, and the blob that repeats it.
COMMON = settings(
    stateful_step_count=30,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
QUICK = settings(COMMON, max_examples=40)
LONG = {
    "memory": settings(COMMON, max_examples=600, stateful_step_count=60),
    "sqlite": settings(COMMON, max_examples=200, stateful_step_count=60),
}
# Derandomized: that the broken store is found must not depend on luck. Not shrunk: nobody reads this failure.
CHECKED = settings(
    COMMON, max_examples=300, derandomize=True, database=None, phases=[Phase.generate], report_multiple_bugs=False
)

pytestmark = pytest.mark.timeout(900)


@pytest.mark.spec("A09", "A12", "R01", "R03", "R05", "R06", "R07", "R09", "V02", "V04", "V05", "N02")
def test_whatever_happens_the_invariants_hold() -> None:
    run_state_machine_as_test(MACHINES["memory"], settings=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", MACHINES)
def test_whatever_happens_for_long_the_invariants_hold(adapter: str) -> None:
    run_state_machine_as_test(MACHINES[adapter], settings=LONG[adapter])


@pytest.mark.parametrize("adapter", ["memory", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_the_machine_notices_that_compare_and_set_is_missing(adapter: str) -> None:
    """The checker is checked: with every step taken whatever the row has become, it must fail."""
    noticed = []

    def perform(self: GrantMachine, *acts: Act, **more: Any) -> Outcome:
        try:
            return GrantMachine.perform(self, *acts, **more)
        except AssertionError as failed:
            noticed.append(str(failed))
            raise

    broken = type("Broken", (MACHINES[adapter],), {"grants_factory": GrantsWithoutCompareAndSet, "perform": perform})
    # Flaky: threads do not interleave alike each time, and hypothesis tries again what has failed.
    with pytest.raises((AssertionError, Flaky)):
        run_state_machine_as_test(broken, settings=CHECKED)
    assert "no order of these explains what happened" in noticed[0]
