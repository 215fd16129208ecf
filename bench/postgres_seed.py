"""Many grants in PostgreSQL, and refresh tokens for some of them. Run as a child process.

The database makes the rows itself. A token is derived from what its row has, so that of any row can be made here.
"""

import asyncio
import random
from dataclasses import replace
from hashlib import md5
from typing import Any, Final

import asyncpg
import msgspec
from pydantic import SecretBytes

from bench import machine
from bench.seed import ISSUER, MASTER_KEY, Seeds, seed
from mintmark import bootstrap
from mintmark.authority.model import User
from mintmark.config import Settings
from mintmark.storage.moving import TABLES
from mintmark.storage.rows import Codec

CLIENT: Final = "app-ES256"
GROWN: Final = "grown"
"""Where ``Seeds.refresh_tokens`` has the tokens of the sample."""
SAMPLE: Final = 8000
"""Grants that are refreshed, spread over all there are."""

_AT_A_TIME: Final = 250_000
_COLUMNS: Final = next(tuple(table.columns) for table in TABLES if table.name == "grants")
_MADE: Final = {
    "id": "decode(md5('id ' || number), 'hex')",
    "salt": "decode(md5('salt ' || number), 'hex')",
    "subject": "'usr_' || left(md5('subject ' || number), 22)",
    "sid": "left(md5('sid ' || number), 22)",
    "sweep_at": "sweep_at + number % 100000",
}
_GROW: Final = f"""
    INSERT INTO grants ({", ".join(f'"{column}"' for column in _COLUMNS)})
    SELECT {", ".join(_MADE.get(column, f'"{column}"') for column in _COLUMNS)}
    FROM (SELECT * FROM grants WHERE id = $1) AS model, generate_series($2::int, $3::int) AS number
"""
_ADD_USER: Final = "INSERT INTO users (subject, email_key, document) VALUES ($1, $1, $2)"


async def grow(database: str, count: int) -> Seeds:
    """Fill a new database as ``bench.seed`` does, and add ``count`` grants."""
    seeds = await seed(database)
    settings = Settings(issuer=ISSUER, database=database, master_key=SecretBytes(MASTER_KEY))
    numbers = random.Random(count).sample(range(count), min(count, SAMPLE))
    connection: Any = await asyncpg.connect(database)
    async with bootstrap.running(settings) as authority:
        model_id = await connection.fetchval("SELECT id FROM grants WHERE client_id = $1 LIMIT 1", CLIENT)
        model = await authority.store.grants.get(model_id)
        assert model is not None
        for first in range(0, count, _AT_A_TIME):
            await connection.execute(_GROW, model_id, first, min(first + _AT_A_TIME, count) - 1, timeout=3600)
        subjects = [f"usr_{_digest('subject', number).hex()[:22]}" for number in numbers]
        users = [User(subject=subject, email=subject) for subject in subjects]
        await connection.executemany(_ADD_USER, [(user.subject, Codec(User).encode(user)) for user in users])
        grants = [replace(model, id=_digest("id", number), salt=_digest("salt", number)) for number in numbers]
        seeds.refresh_tokens[GROWN] = [authority.keyring.secrets.derive("refresh", grant, 1) for grant in grants]
    await connection.execute("VACUUM (ANALYZE)", timeout=3600)
    await connection.close()
    return seeds


def _digest(what: str, number: int) -> bytes:
    return md5(f"{what} {number}".encode(), usedforsecurity=False).digest()


if __name__ == "__main__":
    url, how_many = machine.pin_as_told()
    print(msgspec.json.encode(asyncio.run(grow(url, int(how_many)))).decode())
