"""The machine: its cores, what it is, and a child process pinned to one of them."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_AVAILABLE: Final = sorted(os.sched_getaffinity(0))
_SERVER_CORE: Final = _AVAILABLE[-1]
LOAD_CORE: Final = _AVAILABLE[0]
"""The same one, and the figures low, if there is only one."""


def description() -> list[str]:
    """Return what a reader needs to know to compare figures, from the system itself."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("cryptography", "uvicorn", "uvloop", "httptools"))
    return [
        f"{time.strftime('%Y-%m-%d %H:%M %Z')}, {platform.system()} {platform.release()}",
        f"{model}, {len(_AVAILABLE)} cores: the server on {_SERVER_CORE}, the load on {LOAD_CORE}",
        f"Python {platform.python_version()}, {packages}",
        f"load average before the run: {os.getloadavg()[0]:.1f}",
    ]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, 0 being this one, in units of 1,000,000 bytes."""
    kilobytes = next(line.split()[1] for line in _lines(f"/proc/{pid or 'self'}/status") if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(module: str, *arguments: str) -> Any:
    """Run a module of ours on the server's core and return the JSON it prints."""
    done = subprocess.run(_command(module, arguments), cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Server:
    """A server of ours that listens on the loopback interface.

    Attributes:
        beside: Processes that it asks, whose time counts as its own.
        further_ports: Of further nodes like it, which connections use in turn; they are ``beside`` it.
    """

    pid: int
    port: int
    beside: tuple[int, ...] = ()
    further_ports: tuple[int, ...] = ()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        return sum(map(cpu_seconds, (self.pid, *self.beside)))


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[Server]:
    """Run a server of ours, which prints its port, on the server's core; stop it afterwards.

    Raises:
        RuntimeError: It did not start.
    """
    with subprocess.Popen(_command(module, arguments), cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{module} did not start")
            yield Server(process.pid, int(line))
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def pin(core: int) -> None:
    """Keep this process, and the threads it will start, on one core."""
    os.sched_setaffinity(0, {core})


def spread() -> None:
    """Let this process run on every core, whatever its parent was kept on."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def pin_as_told() -> list[str]:
    """Do what ``_command`` asks of a child; return the other arguments."""
    pin(int(sys.argv[1]))
    return sys.argv[2:]


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", module, str(_SERVER_CORE), *arguments]


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
