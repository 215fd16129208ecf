"""A real PgBouncer on loopback, in transaction mode: each transaction gets whichever server connection is free."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tests.support.postgres import ROLE, PostgreSQL, free_port, server_user

_SECONDS: Final = 20
_SETTINGS: Final = """
[databases]
* = host=127.0.0.1 port={target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
"""


@contextlib.contextmanager
def pgbouncer(server: PostgreSQL, *, size: int) -> Iterator[int]:
    """Run one in front of ``server`` while the context lasts; yield its port.

    Args:
        server: Running.
        size: How many server connections all clients of a database share.
    """
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    assert Path(program).exists(), "pgbouncer is not on this machine; `make check-all` installs it"
    directory, port = Path(tempfile.mkdtemp(prefix="mintmark-pgbouncer-")), free_port()
    (directory / "users").write_text(f'"{ROLE}" ""\n')
    (directory / "ini").write_text(_SETTINGS.format(target=server.port, port=port, directory=directory, size=size))
    user = server_user()
    if user is not None:
        for path in (directory, *directory.iterdir()):
            os.chown(path, user, -1)
    try:
        with (
            (directory / "log").open("wb") as log,
            subprocess.Popen([program, str(directory / "ini")], user=user, stdout=log, stderr=log) as process,
        ):
            try:
                _wait_for(port, process, directory / "log")
                yield port
            finally:
                process.kill()
    finally:
        shutil.rmtree(directory)


def through(url: str, port: int) -> str:
    """Return ``url`` with another port of loopback."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return
