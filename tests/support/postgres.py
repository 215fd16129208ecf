"""Real PostgreSQL servers on loopback: started, crashed, restarted and replicated by the tests.

Every verb blocks; a test with an event loop calls the slow ones by ``asyncio.to_thread``.

Roles: ``mintmark`` owns the databases and may do nothing else, ``postgres`` is the superuser; neither has a password.
Text is sorted as in English by default, so that a statement that needs the order of bytes has to say so.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, Self

import psutil

SUPERUSER: Final = "postgres"
ROLE: Final = "mintmark"
TEMPLATE: Final = "mintmark_empty"
"""Name of the database with an up-to-date schema and nothing in it, see ``empty_database``."""

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_senders": "4",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_CLEAR: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    DO $$
    DECLARE name text;
    BEGIN
      FOR name IN
        SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('schema_version', 'counters')
      LOOP
        EXECUTE format('DELETE FROM %I', name);
      END LOOP;
      UPDATE counters SET value = 0;
    END
    $$
"""
# Ends the server and removes its files when we are gone, however we went: its standard input closes then.
_GUARD: Final = """
trap '' INT TERM
cat >/dev/null
[ -e "$1/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")" && sleep 1
rm -rf "$1"
"""


def binary(name: str) -> str:
    """Return the path of a program of PostgreSQL, the newest where there are several versions."""
    found = [path for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}") if path.parts[-3].isdigit()]
    if found:
        return str(max(found, key=lambda path: int(path.parts[-3])))
    on_path = shutil.which(name)
    assert on_path is not None, f"PostgreSQL's {name} is not on this machine; `make check-all` installs it"
    return on_path


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def server_user() -> int | None:
    """Return as whom the server runs: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise AssertionError("PostgreSQL refuses to run as root, and there is no user `postgres`")


class PostgreSQL:
    """One server with its files in a temporary directory. A context manager that starts and removes it.

    Args:
        fsync: Whether commits reach the disk. Without it a crash of the server (not of the machine) loses nothing
            either, so only what measures needs it.
        settings: Of ``postgresql.conf``, over ours.

    Attributes:
        port: Where it listens; the same after a restart.
        log: What the server says.
    """

    def __init__(self, *, fsync: bool = True, settings: Mapping[str, str] | None = None) -> None:
        durable = "on" if fsync else "off"
        given = {"fsync": durable, "synchronous_commit": durable, "full_page_writes": durable}
        self.settings = {**_SETTINGS, **given, **(settings or {})}
        self.port = free_port()
        self._user = server_user()
        self._directory = Path(tempfile.mkdtemp(prefix="mintmark-pg-"))
        self._data = self._directory / "data"
        self.log = self._directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._templates: set[str] = set()
        if self._user is not None:
            os.chown(self._directory, self._user, -1)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self._directory)], stdin=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Self:
        self.create()
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def create(self) -> None:
        """Make an empty cluster."""
        locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        self._run("initdb", "-D", str(self._data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync", *locale)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert not self.is_running, "it runs already"
        options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        command = [binary("postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._directory, user=self._user, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        probe = [binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        while subprocess.run(probe, check=False, cwd="/").returncode != 0:
            if self._process.poll() is not None:
                raise AssertionError(f"PostgreSQL ended:\n{self.said()}")
            assert time.monotonic() < deadline, f"PostgreSQL does not answer:\n{self.said()}"
            time.sleep(0.02)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server; ``immediate`` is a crash: it recovers at the next start."""
        if self._process is None:
            return
        if self.is_running:
            self._process.send_signal(_SIGNALS[mode])
        self._process.wait(_STOP_SECONDS)
        self._process = None

    def kill(self) -> None:
        """Kill every process of the server at once (``kill -9``)."""
        family = psutil.Process(self.pid)
        processes = [family, *family.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.stop()
        psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop and start it, at the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop it for good and remove its files."""
        self.stop("immediate")
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait(_STOP_SECONDS)

    def said(self) -> str:
        """Return the end of the server's log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def url(self, database: str = "postgres", *, role: str = ROLE) -> str:
        """Return the URL of one of its databases, as the setting ``database`` has it."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> list[str]:
        """Run SQL as the superuser by ``psql``; return the rows, their columns joined by ``|``."""
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database, role=SUPERUSER))

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Make a database that the role ``mintmark`` owns, a copy of ``template``; return its URL."""
        self.execute(f'CREATE DATABASE "{name}" OWNER {ROLE} TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def empty_database(self, name: str) -> str:
        """Make a database with an up-to-date schema and nothing in it; return its URL. Quick after the first."""
        if TEMPLATE not in self._templates:
            _migrate(self.create_database(TEMPLATE))
            self._templates.add(TEMPLATE)
        return self.create_database(name, template=TEMPLATE)

    def clear(self, database: str) -> None:
        """Remove all that is in the tables of a database, and whoever is connected to it. Much quicker than a new one."""
        self.execute(_CLEAR, database)

    def standby(self, *, through: int | None = None, settings: Mapping[str, str] | None = None) -> "PostgreSQL":
        """Return a started asynchronous standby of this server; whoever asks closes it.

        Args:
            through: Port of a proxy in front of this server. While it swallows, the standby falls behind, and what
                the primary commits then is lost by a failover.
            settings: As for the primary.
        """
        standby = PostgreSQL(settings={**self.settings, "hot_standby": "on", **(settings or {})})
        source = f"host=127.0.0.1 port={through or self.port} user={SUPERUSER} dbname=replication"
        standby._run("pg_basebackup", "-d", source, "-D", str(standby._data), "-R", "-X", "stream", "-c", "fast", "-N")
        standby.start()
        return standby

    def promote(self) -> None:
        """Make a standby the primary; returns when it takes writes."""
        assert self.execute("SELECT pg_promote(true, 60)") == ["t"], self.said()

    def has_caught_up(self, standby: "PostgreSQL") -> bool:
        """Tell whether ``standby`` has replayed everything that this server has written."""
        (written,) = self.execute("SELECT pg_current_wal_insert_lsn()")
        return standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn") == ["t"]

    def _run(self, program: str, *arguments: str) -> list[str]:
        done = subprocess.run(
            [binary(program), *arguments],
            cwd=self._directory,
            user=self._user,
            env={**os.environ, "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout.splitlines()


def _migrate(url: str) -> None:
    from mintmark.storage.postgresql import migrate

    # In a thread: whoever asks may be inside an event loop.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(migrate(url, password=None, now=0))).result()


@contextlib.contextmanager
def postgresql(*, fsync: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[PostgreSQL]:
    """Run a server of its own while the context lasts."""
    with PostgreSQL(fsync=fsync, settings=settings) as server:
        yield server
