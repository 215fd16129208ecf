"""`mintmark` as a process of its own, ended by whoever started it."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

STOP_SECONDS = 10


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of the person at this machine, and without proxies for loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINTMARK_")}
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Process:
    """One process and what it has said.

    Attributes:
        shown: What came on its standard output so far.
    """

    def __init__(self, process: "subprocess.Popen[str]", errors_file: Path) -> None:
        self._process = process
        self._errors_file = errors_file
        self.shown = ""

    def read_until(self, text: str, seconds: float = 60) -> None:
        """Read its standard output until ``text`` has come."""
        output: IO[str] = self._process.stdout  # type: ignore[assignment]
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while text not in self.shown:
                assert selector.select(deadline - time.monotonic()), f"not ready: {self.shown}\n{self.errors()}"
                chunk = os.read(output.fileno(), 65536).decode()
                assert chunk, f"it ended: {self.shown}\n{self.errors()}"
                self.shown += chunk

    def errors(self) -> str:
        """Return what came on its standard error so far."""
        return self._errors_file.read_text()

    def send_signal(self, kind: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(kind)

    def wait(self, seconds: float) -> int:
        """Return its exit code."""
        return self._process.wait(seconds)


@contextmanager
def started(folder: Path, *args: str) -> Iterator[Process]:
    """Run ``mintmark`` in ``folder`` while the context lasts."""
    errors_file = folder / "errors.txt"
    with errors_file.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "mintmark.cli.main", *args],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with process:
            try:
                yield Process(process, errors_file)
            finally:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
