"""Serving an authority on a socket until a signal says stop: what ``serve`` and ``dev`` share."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence

from mintmark.asgi import CUT_OFF
from mintmark.authority.core import Authority
from mintmark.bootstrap import application, chores
from mintmark.cli import connection, listening
from mintmark.system import tracing
from mintmark.web.streaming import Feed


class _Protocol(connection.Protocol):
    """Cuts off whomever the application wants to, as well."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT_OFF: {"now": self.transport.abort}}


async def serve(  # the numbers are settings
    authority: Authority,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None] = lambda: None,
    patience: int,
    cleanup_interval: int,
    cleanup_batch: int,
    trusted_proxies: Sequence[str] = (),
    feed: Feed | None = None,
    metrics_listener: socket.socket | None = None,
    drain_delay: int = 0,
    lifeline: int | None = None,
) -> None:
    """Answer requests until SIGINT, SIGTERM or SIGHUP, then finish those under way; at most ``patience`` seconds.

    Streams, which would never finish, end at once, and readiness is no longer confirmed; ``drain_delay`` and
    ``lifeline`` are as of ``listening.Stop``. Metrics are there to the end.
    """
    feed = feed or Feed(authority)

    def stop() -> None:
        on_stop()
        feed.close()

    async with contextlib.AsyncExitStack() as around:
        if metrics_listener is not None:
            await around.enter_async_context(_metrics(authority, metrics_listener))
        await around.enter_async_context(
            chores(authority, cleanup_interval=cleanup_interval, cleanup_batch=cleanup_batch)
        )
        answers = application(authority, feed, trusted_proxies=trusted_proxies)
        await listening.answer(
            await around.enter_async_context(tracing.traced(answers, os.environ)),
            listener,
            on_ready=on_ready,
            on_stop=stop,
            stop=listening.Stop(patience, drain_delay, lifeline),
            protocol=_Protocol,
        )


@contextlib.asynccontextmanager
async def _metrics(authority: Authority, listener: socket.socket) -> AsyncIterator[None]:
    from mintmark.system import metrics

    lag = metrics.FeedLag(authority.denylist)
    async with lag.watched(), listening.answering(metrics.application(metrics.Metrics(authority, lag)), listener):
        yield
