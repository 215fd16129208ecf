"""Revocations beside the store: a stream that all nodes write and read, and one key for each entry that is alive.

Any node publishes what it commits and what it reads from the store, so nothing depends on one of them. The key of an
entry lives as long as the entry, and says what the stream has of that name already.

An *epoch* is the time from when Redis had nothing to when it has nothing again, or is another process: one that starts
may have what was saved some time ago, and a replica that takes over may have been behind. Whoever reads on with a
position of another epoch begins at the beginning, and a stream is whole only in the epoch in which everything was
published.

Nobody but us should write here. What is not of our shape is passed over nevertheless: it says nothing about others.
"""

from collections.abc import Sequence
from typing import Final, get_args

import msgspec

from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY, Revocation, RevocationKind
from mintmark.storage.redis.connection import RedisConnection, Script

_STREAM: Final = "revocations"
_EPOCH: Final = "revocations:epoch"
_WHOLE: Final = "revocations:whole"
_FIRST: Final = "0-0"
_KINDS: Final[dict[str, RevocationKind]] = {kind: kind for kind in get_args(RevocationKind)}
_DATED: Final[Sequence[RevocationKind]] = ("sub", "client_id")
_LONGEST_VALUE: Final = 2048
"""Characters; no name that anybody gives to anything here is as long."""
_MOST_DIGITS: Final = 14
"""Of a time; scripts do not write longer numbers as they were."""
_PAGE: Final = 1000
_PAGE_OF: Final = msgspec.json.Decoder(list[tuple[str, list[str]]]).decode
_PUBLISHED_AT_ONCE: Final = 200
"""Entries in one run of the script: Redis does nothing else meanwhile."""

# Redis goes without the name of the process where a user may not ask for it (docs/redis.md): then only emptiness counts.
_EPOCH_OF: Final = """\
local function epoch_of(key)
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
  local epoch = redis.call('GET', key)
  local began = string.match(epoch or '', '^%d+%.%d+%.(%x*)$')
  if not began or (run ~= '' and began ~= run) then
    epoch = table.concat(redis.call('TIME'), '.') .. '.' .. run
    redis.call('SET', key, epoch)
  end
  return epoch
end
"""
# The oldest entries go while they are dead, or none of ours, more of them than are added; the first live one ends it. So
# no live entry is ever dropped, and in the long run no more is kept than was published within the longest life of all.
_PUBLISH: Final = Script(
    _EPOCH_OF
    + """\
local kept, now = tonumber(ARGV[1]), tonumber(redis.call('TIME')[1])
local function later(one, other)
  if one == '' or other == '' then return '' end
  return math.max(tonumber(one), tonumber(other))
end
epoch_of(KEYS[2])
for index = 3, #KEYS do
  local first = (index - 3) * 4 + 2
  local kind, value, before, exp = unpack(ARGV, first, first + 3)
  if tonumber(exp) + kept > now then
    local known = redis.call('GET', KEYS[index])
    local known_exp, known_before = string.match(known or '', '^(%d+) (%d*)$')
    local until_, upto = exp, before
    if known_exp then
      until_, upto = later(exp, known_exp), later(before, known_before)
    end
    if not known_exp or tostring(until_) ~= known_exp or tostring(upto) ~= known_before then
      redis.call('XADD', KEYS[1], '*', 'kind', kind, 'value', value, 'before', before, 'exp', exp)
      redis.call('SET', KEYS[index], until_ .. ' ' .. upto)
      redis.call('EXPIREAT', KEYS[index], until_ + kept)
    end
  end
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100 + 2 * #KEYS)) do
  local exp = tonumber(entry[2][8]) or 0
  if exp < 1e14 and exp + kept > now then break end
  redis.call('XDEL', KEYS[1], entry[1])
end
return 0
"""
)
# One text for all of them: the library takes its time over every element of an answer.
_READ: Final = Script(
    """\
local epoch = string.match(redis.call('GET', KEYS[2]) or '', '^%d+%.%d+%.%x*$') or ''
local after = ARGV[2]
if epoch ~= ARGV[1] then
  after = '0-0'
end
local read = redis.call('XREAD', 'COUNT', ARGV[3], 'STREAMS', KEYS[1], after)
return {epoch, after, read and cjson.encode(read[1][2]) or '[]'}
"""
)
_IS_WHOLE: Final = Script(
    _EPOCH_OF
    + """\
local epoch = epoch_of(KEYS[1])
return {epoch, redis.call('GET', KEYS[2]) == epoch and 1 or 0}
"""
)
_SET_WHOLE: Final = Script(
    _EPOCH_OF
    + """\
local epoch = epoch_of(KEYS[1])
if ARGV[1] == '' or ARGV[1] == epoch then
  redis.call('SET', KEYS[2], epoch)
end
return 0
"""
)


class RedisRevocationStream:
    """The revocation stream; see ``ports.RevocationStream``."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._epoch = ""

    async def publish(self, entries: Sequence[Revocation]) -> None:
        """Tell of ``entries``; those it has already, and those nobody can need any more, are left out.

        Raises:
            StoreUnavailableError: Perhaps some were told, perhaps all: tell of all of them again.
        """
        for start in range(0, len(entries), _PUBLISHED_AT_ONCE):
            page = entries[start : start + _PUBLISHED_AT_ONCE]
            words: list[str | int] = [KEPT_BEYOND_EXPIRY]
            for entry in page:
                words += [entry.kind, entry.value, "" if entry.before is None else entry.before, entry.expires_at]
            keys = [f"revoked:{entry.kind}:{entry.value}" for entry in page]
            await self._connection.run(_PUBLISH, [_STREAM, _EPOCH, *keys], words)

    async def after(self, position: str, wait: float) -> tuple[str, list[Revocation]]:
        """Return all entries after ``position`` and where to go on; with none, wait at most ``wait`` seconds for one.

        Raises:
            StoreUnavailableError: Go on from the same ``position``.
        """
        position, entries = await self._read(position)
        if entries or wait <= 0:
            return position, entries
        _, _, last = position.partition(" ")
        if await self._connection.wait_for_entry(_STREAM, last or _FIRST, wait):
            return await self._read(position)
        return position, []

    async def is_whole(self) -> bool:
        """Tell whether all live entries were published since Redis had nothing.

        Raises:
            StoreUnavailableError: Nobody knows.
        """
        epoch, is_whole = await self._connection.run(_IS_WHOLE, [_EPOCH, _WHOLE])
        self._epoch = epoch.decode()
        return bool(is_whole)

    async def set_whole(self) -> None:
        """Note that they were; it counts for the epoch that ``is_whole`` saw last, if that is not over.

        Raises:
            StoreUnavailableError: Perhaps it was not noted.
        """
        await self._connection.run(_SET_WHOLE, [_EPOCH, _WHOLE], [self._epoch])

    async def _read(self, position: str) -> tuple[str, list[Revocation]]:
        entries: list[Revocation] = []
        while True:
            epoch, _, last = position.partition(" ")
            words: list[str | int] = [epoch, last or _FIRST, _PAGE]
            found, after, text = await self._connection.run(_READ, [_STREAM, _EPOCH], words)
            page = _page(text)
            entries += [entry for _, fields in page if (entry := _entry(fields)) is not None]
            position = f"{found.decode()} {page[-1][0] if page else after.decode()}"
            if len(page) < _PAGE:
                return position, entries


def _page(text: bytes) -> list[tuple[str, list[str]]]:
    try:
        return _PAGE_OF(text)
    except UnicodeDecodeError:
        # Redis takes any bytes.
        return _PAGE_OF(text.decode(errors="replace"))


def _entry(fields: Sequence[str]) -> Revocation | None:
    """Return what ``fields`` say; ``None`` if they were not written by us, or by a later version for its own nodes."""
    match fields:
        case ["kind", kind, "value", value, "before", before, "exp", exp, *_]:
            pass
        case _:
            return None
    known, until = _KINDS.get(kind), _time(exp)
    upto = _time(before) if before and kind in _DATED else None
    if known is None or until is None or not _is_name(value) or (before and upto is None):
        return None
    return Revocation(kind=known, value=value, before=upto, expires_at=until)


def _is_name(value: str) -> bool:
    # The last is what bytes that are no text were replaced by.
    return 0 < len(value) <= _LONGEST_VALUE and "\0" not in value and "\ufffd" not in value


def _time(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
