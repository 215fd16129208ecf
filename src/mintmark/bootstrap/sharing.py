"""What nodes share beside the store: Redis, if the settings name one."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from mintmark.authority.ports import Clock
from mintmark.authority.sharing import Limiter, Replays, RevocationStream, Shared
from mintmark.config import ConfigError, Settings
from mintmark.system.limiting import MemoryLimiter
from mintmark.system.replaying import MemoryReplays


@dataclass(frozen=True, slots=True)
class Sharing:
    """The ports that Redis is behind; without one each process has its own."""

    limiter: Limiter
    replays: Replays
    stream: RevocationStream | None = None
    shared: Shared | None = None


def alone(clock: Clock) -> Sharing:
    """Return what one process has of its own."""
    return Sharing(limiter=MemoryLimiter(clock), replays=MemoryReplays(clock))


@contextlib.asynccontextmanager
async def sharing(settings: Settings, clock: Clock) -> AsyncIterator[Sharing]:
    """Share what the settings say while the context lasts. Whether Redis is there is not asked: it may come later.

    Raises:
        ConfigError: Redis is named and the package for it is not installed.
    """
    if not settings.redis:
        yield alone(clock)
        return
    try:
        from mintmark.storage import redis  # noqa: PLC0415 - an extra: without it everything else works
    except ModuleNotFoundError as problem:
        if (problem.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError(
            ["MINTMARK_REDIS: Redis needs a package: install mintmark with the extra `redis`, or take the setting out"]
        ) from None
    password = settings.redis_password
    connection = redis.RedisConnection(
        settings.redis,
        password.get_secret_value() if password is not None else None,
        issuer=settings.issuer,
        is_cluster=settings.redis_cluster,
    )
    try:
        yield Sharing(
            limiter=redis.RedisLimiter(connection, MemoryLimiter(clock)),
            replays=redis.RedisReplays(connection, clock),
            stream=redis.RedisRevocationStream(connection),
            shared=connection,
        )
    finally:
        await connection.close()
