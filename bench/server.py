"""The server under test: a real authority on the database that ``bench.seed`` made. Run as a child process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretBytes

from bench import machine, serving
from bench.seed import ISSUER, MASTER_KEY
from mintmark import bootstrap
from mintmark.asgi import ASGIApp
from mintmark.config import Settings


@asynccontextmanager
async def authority(database: str) -> AsyncIterator[ASGIApp]:
    """Run the authority, chores included, as ``mintmark serve`` does."""
    settings = Settings(issuer=ISSUER, database=database, master_key=SecretBytes(MASTER_KEY))
    async with (
        bootstrap.running(settings) as running,
        bootstrap.chores(running, cleanup_interval=settings.cleanup_interval, cleanup_batch=settings.cleanup_batch),
    ):
        yield bootstrap.application(running)


if __name__ == "__main__":
    (database_file,) = machine.pin_as_told()
    serving.run(authority(database_file))
