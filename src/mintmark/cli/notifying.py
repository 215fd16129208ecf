"""Telling the service manager how far we are (systemd ``Type=notify``, ``sd_notify(3)``)."""

import contextlib
import os
import socket
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Send ``state`` to whoever started us and wants to know; nothing happens where nobody does."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    # A name that begins with @ stands for an abstract socket. A manager that has gone must not stop us.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), where.replace("@", "\0", 1) if where.startswith("@") else where)
