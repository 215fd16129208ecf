"""The server under test: a real authority on the database that ``bench.seed`` made, as ``mintmark serve`` runs it."""

from pydantic import SecretBytes

from bench import machine
from bench.seed import ISSUER, MASTER_KEY
from bench.serving import listening, say_port
from mintmark import bootstrap
from mintmark.cli import logs, serving
from mintmark.cli.listening import run
from mintmark.config import Settings


async def serve(database: str) -> None:
    """Serve until SIGTERM."""
    settings = Settings(issuer=ISSUER, database=database, master_key=SecretBytes(MASTER_KEY))
    logs.configure(settings.log_level, settings.log_format)
    with listening() as listener:
        async with bootstrap.running(settings) as authority:
            await serving.serve(
                authority,
                listener,
                on_ready=lambda: say_port(listener),
                patience=1,
                cleanup_interval=settings.cleanup_interval,
                cleanup_batch=settings.cleanup_batch,
            )


if __name__ == "__main__":
    (database_file,) = machine.pin_as_told()
    run(serve(database_file))
