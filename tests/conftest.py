"""Fixtures for every kind of test."""

import gc
import logging
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mintmark.system.clock import SystemClock

if TYPE_CHECKING:
    from tests.support.installation import Installation
    from tests.support.postgres import PostgreSQL
    from tests.support.redis import RedisCluster, RedisServer


def pytest_configure() -> None:
    """Collect without the garbage collector: it would walk through what stays, over and over."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave out what was collected: each of the collector's walks would go through all of it."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests named after the hour: the processes of pytest-xdist must all collect the same names."""
    now = SystemClock().now()
    for item in items:
        if any(abs(int(number) - now) < 86400 for number in re.findall(r"\d{10}", item.name)):
            message = f"{item.nodeid}: its name holds the time of its collection; give it an id"
            raise pytest.UsageError(message)


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """Undo what a command did to the logging of this process: what libraries log goes nowhere but to pytest."""
    yield
    logs = sys.modules.get("mintmark.cli.logs")
    if logs is not None:
        for handler in [each for each in logging.root.handlers if isinstance(each, logs._Forward)]:
            logging.root.removeHandler(handler)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def mint() -> "Installation":
    """A fresh authority in memory, with the demo inhabitants."""
    # Imported here, so that tests of the SDKs' vocabulary do not need the server's packages.
    from tests.support.installation import install

    return await install()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator["PostgreSQL"]:
    """A PostgreSQL server for all tests of this process; who crashes one starts one of their own."""
    from tests.support.postgres import postgresql

    with postgresql(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def _postgresql_database(postgresql_server: "PostgreSQL") -> str:
    return postgresql_server.empty_database("shared")


@pytest.fixture
def postgresql_url(postgresql_server: "PostgreSQL", _postgresql_database: str) -> str:
    """The URL of a database with an up-to-date schema and nothing in it; who changes the schema makes one of their own."""
    postgresql_server.clear("shared")
    return _postgresql_database


@pytest.fixture(scope="session")
def redis_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RedisServer"]:
    """A Redis for all tests of this process; tests take ``redis``."""
    from tests.support.redis import redis_server

    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RedisServer"]:
    """A Valkey for all tests of this process; tests take ``valkey``."""
    from tests.support.redis import valkey_server

    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_nodes_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RedisCluster"]:
    """A Redis Cluster for all tests of this process; tests take ``redis_nodes``."""
    from tests.support.redis import redis_cluster

    with redis_cluster(tmp_path_factory.mktemp("redis-cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis(redis_of_worker: "RedisServer") -> "RedisServer":
    """An empty Redis; the test may do to it what it likes."""
    redis_of_worker.refresh()
    return redis_of_worker


@pytest.fixture
def valkey(valkey_of_worker: "RedisServer") -> "RedisServer":
    """An empty Valkey; the test may do to it what it likes."""
    valkey_of_worker.refresh()
    return valkey_of_worker


@pytest.fixture
def redis_nodes(redis_nodes_of_worker: "RedisCluster") -> "RedisCluster":
    """An empty Redis Cluster of three masters; the test may do to it what it likes."""
    redis_nodes_of_worker.refresh()
    return redis_nodes_of_worker
