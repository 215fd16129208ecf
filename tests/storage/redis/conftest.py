"""What is kept in Redis is tried on one server and on a cluster."""

from collections.abc import AsyncIterator

import pytest
from tests.storage.redis.places import RedisPlace


@pytest.fixture(params=["redis", "cluster"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[RedisPlace]:
    """An empty Redis, and an empty Redis Cluster."""
    opened = RedisPlace(request.getfixturevalue("redis" if request.param == "redis" else "redis_nodes"))
    yield opened
    await opened.close()
