"""Redis or Valkey, shared by all nodes: never the truth, and may be away at any time (ADR 0025).

Every act is one command or one script, on keys that begin with what only this authority's do, in braces, so that a Redis
Cluster keeps them together. Plain commands of Redis 6.0; no modules.
"""

from mintmark.storage.redis.connection import RedisConnection
from mintmark.storage.redis.limiting import RedisLimiter
from mintmark.storage.redis.replays import RedisReplays
from mintmark.storage.redis.stream import RedisRevocationStream

__all__ = ["RedisConnection", "RedisLimiter", "RedisReplays", "RedisRevocationStream"]
