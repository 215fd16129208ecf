"""What serving needs before it serves: a port, a log that keeps secrets, a banner that is right."""

import asyncio
import errno
import json
import logging
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
import structlog
from tests.unit.cli.command_line import Line

from mintmark.bootstrap import real_world, running
from mintmark.cli import asking, demo, dev, listening, logs, opening, place, serve, serving
from mintmark.cli.refusal import Misconfigured, Refusal
from mintmark.config import ConfigError, Settings


def move(port: int) -> str:
    return f"use {port}"


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refusal, match=rf"port {port} on 127.0.0.1 is taken.* is free: use \d+"):
            listening.listen("127.0.0.1", port, how_to_move=move)


def test_two_listeners_never_share_a_port() -> None:
    with listening.listen("127.0.0.1", 0, how_to_move=move) as first:
        port = first.getsockname()[1]
        with pytest.raises(Refusal):
            listening.listen("127.0.0.1", port, how_to_move=move)


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EACCES, "may not listen on port 80"), (errno.EADDRNOTAVAIL, "cannot listen on 10.0.0.1")]
)
def test_other_reasons_not_to_listen(monkeypatch: pytest.MonkeyPatch, number: int, why: str) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(number, "no")

    monkeypatch.setattr(listening, "_bound", fail)
    with pytest.raises(Refusal, match=why):
        listening.listen("10.0.0.1", 80, how_to_move=move)


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_names_that_no_host_has(host: str) -> None:
    with pytest.raises(Refusal, match=f"cannot listen on {host}: no name looks like that"):
        listening.listen(host, 8080, how_to_move=move)


def test_no_port_near_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> socket.socket:
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(listening, "_bound", fail)
    with pytest.raises(Refusal, match="no port near it is free either"):
        listening.listen("127.0.0.1", 65530, how_to_move=move)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80"), ("localhost", "http://localhost:80")],
)
def test_urls(host: str, url: str) -> None:
    assert listening.url_of(host, 80) == url


@pytest.mark.parametrize("style", ["json", "console"])
def test_logs_hold_no_local_variable_and_go_to_standard_error(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        local = "s3cret".upper()
        raise RuntimeError(len(local))

    logs.configure("info", style)
    structlog.get_logger("ours").debug("too quiet")
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("ours").exception("failed")
        logging.getLogger("theirs").exception("failed %s", "too")
    shown, said = capsys.readouterr()
    assert shown == ""
    assert "too quiet" not in said
    assert "S3CRET" not in said
    assert "failed too" in said
    if style == "json":
        ours, theirs = map(json.loads, said.splitlines())
        assert ours["level"] == "error"
        assert "RuntimeError" in ours["exception"]
        assert theirs | {"timestamp": ""} == {
            "logger": "theirs", "kind": "RuntimeError", "event": "failed too", "level": "error", "timestamp": ""
        }  # fmt: skip


def test_the_banner_names_everything_and_three_lines(bare: Line) -> None:
    async def furnished() -> demo.Demo:
        world = replace(real_world(), has_cheap_passwords=True)
        async with running(dev._settings("::1", 8080, bytes(32)), world) as authority:
            return await demo.furnish(authority, app_redirect_uri="http://127.0.0.1:8081/callback")

    things = asyncio.run(furnished())
    api = "http://[::1]:8082"
    banner = dev.welcome("http://[::1]:8080", api, things)
    for part in (things.password, things.service_secret, things.app_secret, things.refresh_token, "NOT for production"):
        assert part in banner
        assert part == "NOT for production" or part not in repr(things)
    lines = dev.lines_to_paste("http://[::1]:8080", api, things.service_secret)
    assert len(lines) == 3
    assert all(line in banner.splitlines() for line in lines)
    assert dev.line_to_refresh("http://[::1]:8080", things.refresh_token) in banner.splitlines()
    assert "curl -sS -g http://[::1]:8080/" in lines[0]
    assert "'[::1]:8080', 'POST'" in lines[1]
    assert "curl -sS -g http://[::1]:8082/orders" in lines[2]
    assert f"answers at {api}/orders" in banner
    assert "examples/login.py" not in banner  # it is not in this folder
    Path("examples").mkdir()
    Path("examples/login.py").touch()
    application = (
        f"PORT=8081 ISSUER=http://[::1]:8080 CLIENT_ID=demo-app CLIENT_SECRET={things.app_secret} "
        ".venv/bin/python examples/login.py"
    )
    banner = dev.welcome("http://[::1]:8080", api, things)
    assert application in banner.splitlines()
    assert "then open http://127.0.0.1:8081\n" in banner


def test_serve_says_where_it_is_wanted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MINTMARK_PORT", str(taken.getsockname()[1]))
        assert "in mintmark.toml, or MINTMARK_PORT=" in line.refused("serve")
        port = taken.getsockname()[1]
        monkeypatch.setenv("MINTMARK_ISSUER", f"http://127.0.0.1:{port}")
        why = line.refused("serve")
        free = re.search(r"MINTMARK_PORT=(\d+)", why)
        assert free is not None
        issuer = f"http://127.0.0.1:{free[1]}"
        assert f'set both `port = {free[1]}` and `issuer = "{issuer}"` in mintmark.toml' in why
        assert f"MINTMARK_ISSUER={issuer}" in why


def test_the_issuer_of_many_nodes_does_not_move_with_one_of_them() -> None:
    """The second node on a machine has a port of its own, and the issuer of all."""
    one = Settings.model_validate({"issuer": "http://127.0.0.1:8080", "database": "mintmark.sqlite3", "port": 8081})
    many = one.model_copy(update={"database": "postgresql://mintmark@db.example/mintmark"})
    assert (place.mismatch(one) is None, place.mismatch(many)) == (False, None)
    assert place.how_to_move(many.model_copy(update={"port": 8080}), 8082) == (
        "set `port = 8082` in mintmark.toml, or MINTMARK_PORT=8082"
    )


def test_a_package_that_is_missing_is_a_wrong_setting() -> None:
    """Which is found only when it is needed."""
    settings = Settings.model_validate({"issuer": "http://127.0.0.1:8080", "database": "mintmark.sqlite3"})
    with pytest.raises(Misconfigured, match="the extra `redis`"), opening.explained(settings):
        raise ConfigError(["redis needs a package: install mintmark with the extra `redis`"])


def test_an_issuer_with_ipv6_moves_too() -> None:
    assert place.moved("http://[::1]:8080/auth", 8081) == "http://[::1]:8081/auth"


@pytest.mark.parametrize(
    ("database", "said"), [("memory:", "everything is forgotten"), ("new.sqlite3", "making an empty one")]
)
def test_serve_tells_of_an_empty_database(
    line: Line, monkeypatch: pytest.MonkeyPatch, database: str, said: str
) -> None:
    async def at_once(*_: object, on_ready: object, **numbers: int) -> None:
        assert callable(on_ready)
        assert numbers["patience"] == serve.PATIENCE
        on_ready()

    monkeypatch.setattr(serving, "serve", at_once)
    monkeypatch.setenv("MINTMARK_DATABASE", database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MINTMARK_PORT", str(port))
    result = line("serve")
    assert said in result.stderr
    assert "Warning: the issuer http://127.0.0.1:8080 names port 8080, but port is" in result.stderr
    assert result.stdout.startswith("mintmark is ready: http://127.0.0.1:8080 (listening on")
    assert "mintmark has stopped." in result.stderr


def test_a_token_that_is_typed_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: " t0ken ")
    with click.Context(click.Command("introspect")):
        assert asking.ask_token() == "t0ken"

    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.hidden_prompt_func", interrupted)
    with click.Context(click.Command("introspect")), pytest.raises(Refusal, match="paste it, or pipe it in"):
        asking.ask_token()
