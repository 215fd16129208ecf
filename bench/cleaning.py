"""The server under test with a clock that is ahead, so that what expires soon has expired for it. Run as a child process.

One whose clock is right never takes the lead from the other, however long that one is stopped.
"""

import math

from pydantic import SecretBytes

from bench import machine
from bench.seed import ISSUER, MASTER_KEY
from bench.serving import listening, say_port
from mintmark import bootstrap
from mintmark.authority import leadership
from mintmark.cli import logs, serving
from mintmark.cli.listening import run
from mintmark.config import Settings
from mintmark.system.clock import SystemClock, SystemRandomness


class ClockAhead(SystemClock):
    """A clock that is a number of seconds ahead."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def now(self) -> int:
        """Return Unix time, later than it is."""
        return super().now() + self._seconds


async def serve(database: str, ahead: int) -> None:
    """Serve until SIGTERM."""
    settings = Settings(issuer=ISSUER, database=database, master_key=SecretBytes(MASTER_KEY))
    logs.configure(settings.log_level, settings.log_format)
    with listening() as listener:
        async with bootstrap.running(settings, bootstrap.World(ClockAhead(ahead), SystemRandomness())) as authority:
            await serving.serve(
                authority,
                listener,
                on_ready=lambda: say_port(listener),
                patience=1,
                cleanup_interval=settings.cleanup_interval,
                cleanup_batch=settings.cleanup_batch,
            )


if __name__ == "__main__":
    url, seconds = machine.pin_as_told()
    if int(seconds) == 0:
        leadership.LEASE_PATIENCE = math.inf  # type: ignore[misc]
    run(serve(url, int(seconds)))
