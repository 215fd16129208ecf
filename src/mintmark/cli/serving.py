"""Serving an authority on a socket until a signal says stop: what ``serve`` and ``dev`` share."""

import socket
from collections.abc import Callable, Sequence

from mintmark.asgi import CUT_OFF
from mintmark.authority.core import Authority
from mintmark.bootstrap import application, chores
from mintmark.cli import listening
from mintmark.web.streaming import Feed


class _Protocol(listening.Protocol):
    """Cuts off whomever the application wants to, as well."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT_OFF: {"now": self.transport.abort}}


async def serve(  # the numbers are settings
    authority: Authority,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    patience: int,
    cleanup_interval: int,
    cleanup_batch: int,
    trusted_proxies: Sequence[str] = (),
    feed: Feed | None = None,
) -> None:
    """Answer requests until SIGINT or SIGTERM, then finish those under way; at most ``patience`` seconds.

    Streams, which would never finish, end at once.
    """
    feed = feed or Feed(authority)
    async with chores(authority, cleanup_interval=cleanup_interval, cleanup_batch=cleanup_batch):
        await listening.answer(
            application(authority, feed, trusted_proxies=trusted_proxies),
            listener,
            on_ready=on_ready,
            on_stop=feed.close,
            patience=patience,
            protocol=_Protocol,
        )
