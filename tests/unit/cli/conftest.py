"""A command line in a folder of its own, where `mintmark init` has been."""

import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.world import FixedClock
from tests.unit.cli.command_line import ADMIN, PASSWORD, START, Line

from mintmark.bootstrap import World
from mintmark.cli import opening
from mintmark.jose import jwk as jwk_module
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key, from_jwk, generate
from mintmark.system.clock import SystemRandomness

_opened: dict[str, Key] = {}
_made: list[Key] = []


def _open_once(jwk: dict[str, Any], *, alg: Algorithm) -> Key:
    """Open a private key as ever, but each only once: every command opens all of them, and RSA is slow at it."""
    text = f"{alg} {json.dumps(jwk, sort_keys=True)}"
    if text not in _opened:
        _opened[text] = from_jwk(jwk, alg=alg)
    return _opened[text]


def _make_few(count: Iterator[int]) -> Callable[[Algorithm], Key]:
    """Make keys, but the same two RSA keys for every authority that `init` founds."""

    def make(alg: Algorithm) -> Key:
        if alg != "RS256":
            return generate(alg)
        number = next(count)
        while len(_made) <= number:
            _made.append(generate(alg))
        return _made[number]

    return make


def _line(monkeypatch: pytest.MonkeyPatch, folder: Path, clock: FixedClock) -> Line:
    for name in [name for name in os.environ if name.startswith("MINTMARK_")]:
        monkeypatch.delenv(name)
    world = World(clock, SystemRandomness(), has_cheap_passwords=True)
    monkeypatch.setattr(opening, "real_world", lambda: world)
    monkeypatch.setattr(jwk_module, "from_jwk", _open_once)
    monkeypatch.chdir(folder)
    return Line(clock)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Return a command line in an empty folder."""
    monkeypatch.setattr(jwk_module, "generate", _make_few(itertools.count()))
    return _line(monkeypatch, tmp_path, FixedClock(START))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder made by `mintmark init`; key generation takes a while, so it is made once and copied."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as monkeypatch:
        line = _line(monkeypatch, folder, FixedClock(START))
        line("init", "--admin-email", ADMIN, "--password-stdin", typed=PASSWORD + "\n")
    return folder


@pytest.fixture
def line(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Return a command line in a folder where `mintmark init` has been."""
    for file in template.iterdir():
        shutil.copy2(file, tmp_path)
    return _line(monkeypatch, tmp_path, FixedClock(START + 60))


@pytest.fixture(autouse=True)
def ordinary_logs() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)
