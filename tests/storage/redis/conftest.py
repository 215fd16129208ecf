"""What is kept in Redis is tried on one server, on a Valkey and on a cluster."""

from collections.abc import AsyncIterator

import pytest
from tests.storage.redis.places import RedisPlace
from tests.support.redis import RedisServer


@pytest.fixture(params=["redis", "valkey", "redis_nodes"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[RedisPlace]:
    """An empty Redis, an empty Valkey, and an empty Redis Cluster."""
    opened = RedisPlace(request.getfixturevalue(request.param))
    yield opened
    await opened.close()


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> RedisServer:
    """An empty Redis, and an empty Valkey."""
    found: RedisServer = request.getfixturevalue(request.param)
    return found
