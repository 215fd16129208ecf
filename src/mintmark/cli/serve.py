"""``mintmark serve``: the authority, in earnest."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mintmark.cli import place
from mintmark.cli.opening import MEMORY, load_settings, opened
from mintmark.cli.output import say
from mintmark.cli.parameters import config_option, example
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    import socket

    from mintmark.cli.workers import Worker
    from mintmark.config import Settings

PATIENCE: Final = 10
"""Seconds that requests under way get to finish."""

MOST_WORKERS: Final = 64
LONGEST_DRAIN: Final = 300


def _say_where(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = str(option.name)
        raise click.UsageError(f"--{name} is a setting: `{name}` in mintmark.toml, or MINTMARK_{name.upper()}", ctx)


@click.command("serve", epilog=example("mintmark serve", "mintmark serve --config /etc/mintmark/mintmark.toml"))
@config_option
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help="Processes that answer on the one port; about one per core.",
)
@click.option(
    "--drain-delay",
    type=click.IntRange(0, LONGEST_DRAIN),
    default=0,
    show_default=True,
    help="Seconds from the signal to stop until no more connections are taken; a load balancer must notice in that time.",
)
@click.option("--port", hidden=True, expose_value=False, callback=_say_where)
@click.option("--host", hidden=True, expose_value=False, callback=_say_where)
def command(workers: int, drain_delay: int) -> None:
    """Run the authority.

    Prints one line when it is ready; stops gracefully on SIGTERM and SIGINT.
    """
    settings = load_settings()
    if workers > 1 and settings.database == MEMORY:
        raise Refusal("the database is `memory:`, which each worker would have for itself; leave --workers away")
    with contextlib.ExitStack() as closing:
        # Taken before anything else is done, so that mistakes there are told at once.
        listener, *metrics_listeners = (closing.enter_context(one) for one in _listeners(settings, workers))
        _prepare(settings)
        service = Service(settings, listener, metrics_listeners, drain_delay)
        if workers == 1:
            service.run()
        else:
            service.run_with(workers)


def _prepare(settings: "Settings") -> None:
    from mintmark.cli import logs

    if (wrong := place.mismatch(settings)) is not None:
        say(f"Warning: {wrong[0]}; {wrong[1]}.")
    logs.configure(settings.log_level, settings.log_format)
    if settings.database == MEMORY:
        say("The database is `memory:`: everything is forgotten when this process ends.")
    elif "://" not in settings.database and not Path(settings.database).exists():
        say(f"There is no database at {settings.database} yet; making an empty one.")


def _listeners(settings: "Settings", workers: int) -> Iterator["socket.socket"]:
    """Take the port that all workers share, and one for the metrics of each: they are processes with their own."""
    from mintmark.cli import listening

    yield listening.listen(
        settings.host,
        settings.port,
        how_to_move=lambda port: place.how_to_move(settings, port),
    )
    if settings.metrics_port == 0:
        return
    if settings.metrics_port + workers - 1 > 65535:
        raise Refusal(f"metrics_port leaves no room for {workers} workers, each of which takes the next one")
    if settings.metrics_host == settings.host and 0 < settings.port - settings.metrics_port < workers:
        raise Refusal(f"{workers} workers take as many ports from metrics_port on, and `port` is among them")
    for number in range(workers):
        yield listening.listen(
            settings.metrics_host,
            settings.metrics_port + number,
            how_to_move=lambda port: f"set `metrics_port = {port}` in mintmark.toml, or MINTMARK_METRICS_PORT={port}",
        )


class Service:
    """What one call of ``serve`` does, in one process or several."""

    def __init__(
        self,
        settings: "Settings",
        listener: "socket.socket",
        metrics_listeners: Sequence["socket.socket"],
        drain_delay: int,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._metrics_listeners = metrics_listeners
        self._drain_delay = drain_delay

    def run(self) -> None:
        """Serve in this process, until a signal comes."""
        from mintmark.cli import listening, serving

        listening.run(self._serve(serving.serve))
        say("mintmark has stopped.")

    def run_with(self, count: int) -> None:
        """Serve in ``count`` processes, until a signal comes."""
        # What serves is loaded here, once, before there are several processes that would each load it.
        from mintmark.cli import listening, serving, workers

        def work(worker: workers.Worker) -> None:
            listening.run(self._serve(serving.serve, worker))

        def stop() -> None:
            self._say_stopping()
            # Or connections would be taken that nobody answers, once the last worker has gone.
            for one in self._sockets():
                one.close()

        code = workers.supervise(
            count, work, on_ready=self._say_ready, on_stop=stop, patience=self._drain_delay + PATIENCE
        )
        if code == 0:
            say("mintmark has stopped.")
        raise SystemExit(code)

    def _sockets(self) -> list["socket.socket"]:
        return [self._listener, *self._metrics_listeners]

    def _say_ready(self) -> None:
        from mintmark.cli import listening, notifying

        where = listening.url_of(self._settings.host, self._settings.port)
        click.echo(f"mintmark is ready: {self._settings.issuer} (listening on {where})")
        notifying.notify(notifying.READY)

    def _say_stopping(self) -> None:
        from mintmark.cli import notifying

        notifying.notify(notifying.STOPPING)

    async def _serve(self, serve: Callable[..., Awaitable[None]], worker: "Worker | None" = None) -> None:
        settings, number = self._settings, 0 if worker is None else worker.number
        metrics_listener = self._metrics_listeners[number] if self._metrics_listeners else None
        with contextlib.ExitStack() as closing:
            for one in self._sockets():
                if one in {self._listener, metrics_listener}:
                    closing.enter_context(one)
                else:
                    one.close()  # another worker's
            async with opened(settings) as authority:
                await serve(
                    authority,
                    self._listener,
                    on_ready=self._say_ready if worker is None else worker.ready,
                    on_stop=self._say_stopping if worker is None else lambda: None,
                    patience=PATIENCE,
                    cleanup_interval=settings.cleanup_interval,
                    cleanup_batch=settings.cleanup_batch,
                    trusted_proxies=settings.trusted_proxies,
                    metrics_listener=metrics_listener,
                    drain_delay=self._drain_delay,
                    lifeline=None if worker is None else worker.lifeline,
                )
