"""Nodes behind HAProxy are replaced one by one, under load, and nobody notices.

Nothing is repeated on anybody's behalf: HAProxy sends a request to another node only if it could not connect to the
first. So each failure would be seen.
"""

import base64
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import pytest
from tests.support.serve import FEED, TOKEN, Connection, Home, balanced, home, soon, stop
from tests.unit.cli.processes import Process, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 8
ROUNDS = 2
DRAIN = "2"


class Load:
    """Clients that ask all the time, each on a connection of its own for as long as that lasts.

    Attributes:
        answers: How many were good.
        wrong: What was not.
        reopened: How often a client was asked to come back on another connection.
    """

    def __init__(self, port: int, home: Home) -> None:
        self._port = port
        self._home = home
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_for_ever) for _ in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._read_for_ever))
        self.answers = self.reopened = self.events = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask_for_ever(self) -> None:
        while not self._is_over.is_set():
            try:
                with Connection(self._port) as connection:
                    while not self._is_over.is_set():
                        status, headers, body = connection.ask("POST", TOKEN, self._home.form)
                        if status != 200:
                            self.wrong.append(f"{status} {body[:200]!r}")
                        self.answers += 1
                        if headers.get("connection") == "close":
                            self.reopened += 1
                            break
                        time.sleep(0.01)
            except Exception as problem:  # noqa: BLE001 - whatever it is, a client has seen it
                self.wrong.append(repr(problem))

    def _read_for_ever(self) -> None:
        """Follow the feed, which ends with its node; a reader then connects again."""
        pair = base64.b64encode(f"service:{self._home.secret}".encode()).decode()
        headers = f"Authorization: Basic {pair}\r\nAccept: text/event-stream\r\n"
        while not self._is_over.is_set():
            try:
                with Connection(self._port) as connection:
                    connection.send("GET", FEED, headers=headers)
                    status, _ = connection.head()
                    if status != 200:
                        self.wrong.append(f"feed: {status}")
                    while not self._is_over.is_set() and (line := connection.line()) != b"0\r\n":
                        if not line:
                            self.wrong.append("feed: broken off")
                            break
                        self.events += line.startswith(b"event:")
            except Exception as problem:  # noqa: BLE001
                self.wrong.append(f"feed: {problem!r}")


def _is_back(times_back: Callable[[int], int], number: int, turn: int) -> bool:
    return times_back(number) >= turn


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nodes_are_replaced_one_by_one_and_no_request_fails(tmp_path: Path, workers: str) -> None:
    place = home(tmp_path)
    front, nodes = free_port(), [free_port() for _ in range(3)]
    options = ("--drain-delay", DRAIN, "--workers", workers)
    running: dict[int, tuple[ExitStack, Process]] = {}

    def start(port: int) -> None:
        stack = ExitStack()
        running[port] = stack, stack.enter_context(place.serving(*options, port=port))

    try:
        for port in nodes:
            start(port)
        with balanced(tmp_path, front, nodes) as times_back, Load(front, place) as load:
            soon(lambda: load.answers > 100, "the load is on")
            for turn, number in itertools.product(range(1, ROUNDS + 1), range(len(nodes))):
                stack, process = running.pop(nodes[number])
                with stack:
                    assert stop(process) == 0, process.errors()
                    assert "Traceback" not in process.errors()
                start(nodes[number])
                soon(partial(_is_back, times_back, number, turn), "it is back")
    finally:
        for stack, _ in running.values():
            stack.close()
    print(
        f"\nrolling restart: {ROUNDS * len(nodes)} restarts of nodes with {workers} worker(s), {load.answers} requests "
        f"answered, {len(load.wrong)} failed, {load.events} events of the feed"
    )
    assert load.wrong == []
    assert load.answers > 500
    assert load.events >= ROUNDS
