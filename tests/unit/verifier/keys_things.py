"""What tests of the keys share."""

import pytest
from tests.support.key_keeping import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready() -> World:
    return World.ready()
