"""A verifier's surroundings, in memory."""

import pytest
from tests.support.issuers import Authority, Network
from tests.support.verifying import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def authority(network: Network, clock: FakeClock) -> Authority:
    return Authority(network, clock)
