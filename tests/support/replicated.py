"""Two nodes on a PostgreSQL primary with an asynchronous standby, and a Redis beside them: all real, all may die.

What the primary commits while the standby is ``cut_off`` is lost when the standby takes over.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretBytes
from tests.support.postgres import ROLE, PostgreSQL, postgresql
from tests.support.proxy import Proxy, proxy_to
from tests.support.redis import RedisServer, redis_server
from tests.unit.cli.processes import Process, free_port, started

from mintmark.config import Settings

DATABASE: Final = "mintmark"
NODES: Final = 2
_STOP_SECONDS: Final = 10


class Replicated:
    """The whole of it.

    Attributes:
        redis: The server that all nodes use, unless they are started without.
        urls: Where the nodes answer that were not killed.
    """

    def __init__(self, folder: Path, primary: PostgreSQL, standby: PostgreSQL, way: Proxy, redis: RedisServer) -> None:
        self.primary = primary
        self.standby = standby
        self.redis = redis
        self.issuer = f"http://127.0.0.1:{free_port()}"
        self.urls: list[str] = []
        self._folder = folder
        self._way = way
        self._running: dict[str, tuple[Process, ExitStack]] = {}
        (folder / "mintmark.key").write_text(bytes(32).hex())
        (folder / "mintmark.key").chmod(0o600)

    @property
    def database(self) -> str:
        """Both servers, as the setting has them."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/{DATABASE}"

    @property
    def settings(self) -> Settings:
        """What an authority in this process needs to use the same database."""
        return Settings(issuer=self.issuer, database=self.database, master_key=SecretBytes(bytes(32)))

    def start_node(self, *, with_redis: bool = True) -> str:
        """Start a node and wait until it answers; return its URL."""
        port = free_port()
        folder = self._folder / str(port)
        folder.mkdir()
        lines = [
            f'issuer = "{self.issuer}"',
            f"port = {port}",
            f'database = "{self.database}"',
            f'master_key_file = "{self._folder / "mintmark.key"}"',
            "cleanup_interval = 1",
            *([f'redis = "{self.redis.url}"'] if with_redis else []),
        ]
        (folder / "mintmark.toml").write_text("\n".join(lines))
        stack = ExitStack()
        process = stack.enter_context(started(folder, "serve", "--config", str(folder / "mintmark.toml")))
        url = f"http://127.0.0.1:{port}"
        self._running[url] = process, stack
        process.read_until("mintmark is ready")
        self.urls.append(url)
        return url

    def kill_node(self, url: str) -> None:
        """Kill a node (SIGKILL)."""
        self.urls.remove(url)
        process, stack = self._running.pop(url)
        process.send_signal(signal.SIGKILL)
        process.wait(_STOP_SECONDS)
        stack.close()

    def said(self, url: str) -> str:
        """Return what a node has logged so far."""
        return self._running[url][0].errors()

    def cut_off(self) -> None:
        """Let nothing reach the standby any more."""
        self._way.swallow()

    def crash_primary(self) -> None:
        """Stop the primary at once, for good; what has not reached the standby by now never will."""
        self.primary.stop("immediate")
        self._way.cut()

    def known_to_standby(self) -> set[tuple[str, str]]:
        """Return kind and name of the revocations that have reached the standby."""
        rows = self.standby.execute("SELECT kind, value FROM revocations", DATABASE)
        return {(kind, value) for kind, _, value in (row.partition("|") for row in rows)}

    def close(self) -> None:
        """Stop the nodes."""
        for _, stack in self._running.values():
            stack.close()


@contextmanager
def replicated(folder: Path) -> Iterator[Replicated]:
    """Run two servers, Redis and no node yet, while the context lasts."""
    with ExitStack() as stack:
        primary = stack.enter_context(postgresql())
        primary.empty_database(DATABASE)
        way = stack.enter_context(proxy_to(primary.port))
        standby = primary.standby(through=way.port)
        stack.callback(standby.close)
        redis = stack.enter_context(redis_server(folder / "redis"))
        world = Replicated(folder, primary, standby, way, redis)
        stack.callback(world.close)
        yield world
