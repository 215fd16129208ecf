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


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not decide whether a thousand threads are patient enough."""
    monkeypatch.setattr("mintmark.verifier.keys._FIND_PATIENCE", 60.0)
