"""`mintmark doctor`: every problem has a name and a remedy, and looking changes nothing."""

import asyncio
import http.server
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.command_line import ADMIN, Line

from mintmark.authority.model import Client
from mintmark.bootstrap import running
from mintmark.cli import examination, opening
from mintmark.config import load


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the issuer be a port where nothing answers."""
    monkeypatch.setenv("MINTMARK_ISSUER", "http://127.0.0.1:9")


def problems(line: Line) -> dict[str, Any]:
    """Return what is wrong, by the name of the check."""
    seen = line.json("doctor", expect=1)
    assert seen["well"] is False
    found = {finding["check"]: finding for finding in seen["findings"] if finding["status"] == "problem"}
    assert all(finding["remedy"] for finding in found.values())
    return found


def test_all_is_well(line: Line) -> None:
    seen = line.json("doctor")
    assert seen["well"] is True
    assert all(finding.keys() == {"check", "status", "what", "remedy"} for finding in seen["findings"])
    checks = {finding["check"]: finding["status"] for finding in seen["findings"]}
    assert checks == {
        "settings": "ok",
        "database permissions": "ok",
        "database": "ok",
        "master key": "ok",
        "RS256 key": "ok",
        "ES256 key": "ok",
        "users": "ok",
        "server": "skipped",
    }
    assert "All is well." in line("doctor").stdout


def test_looking_changes_nothing(line: Line, tmp_path: Path) -> None:
    line.clock.advance(400 * 86400)  # so that keys would be due
    before = line_of(tmp_path)
    line("doctor")
    assert line_of(tmp_path) == before


def line_of(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / "mintmark.sqlite3") as connection:
        return connection.execute("SELECT kid, published_at FROM signing_keys ORDER BY kid").fetchall()


def test_every_problem_of_the_settings(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_PORT", "0")
    monkeypatch.setenv("MINTMARK_ISSUER", "http://auth.example.com")
    result = line("doctor", expect=1)
    assert "MINTMARK_PORT" in result.stdout
    assert "use https: http is for loopback only" in result.stdout
    assert "2 problems found." in result.stdout


def test_a_master_key_that_everybody_can_read(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").chmod(0o644)
    assert "chmod 600" in problems(line)["settings"]["what"]


def test_no_master_key_at_all(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").unlink()
    assert "cannot be read" in problems(line)["settings"]["what"]


def test_another_master_key(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").write_text("ab" * 32)
    found = problems(line)
    assert "previous_master_keys" in found["master key"]["remedy"]


def test_no_database(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").unlink()
    assert "mintmark init" in problems(line)["database"]["remedy"]
    assert not (tmp_path / "mintmark.sqlite3").exists()


@pytest.mark.parametrize("content", [b"this is not a database, not at all, really not" * 40, b""])
def test_no_database_of_ours(line: Line, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mintmark.sqlite3").write_bytes(content)
    assert "restore the newest backup" in problems(line)["database"]["remedy"]


def test_a_damaged_database(line: Line, tmp_path: Path) -> None:
    with (tmp_path / "mintmark.sqlite3").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 8)
    assert "damaged" in problems(line)["database"]["what"]


@pytest.mark.parametrize(("version", "remedy"), [(99, "install that version"), (0, "back it up")])
def test_another_schema(line: Line, tmp_path: Path, version: int, remedy: str) -> None:
    connection = sqlite3.connect(tmp_path / "mintmark.sqlite3")
    connection.execute("DELETE FROM schema_version")
    connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (?, 0)", (version,))
    connection.commit()
    connection.close()
    assert remedy in problems(line)["database"]["remedy"]


def test_permissions_of_the_database(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mintmark.sqlite3").chmod(0o644)
    assert "chmod 600" in problems(line)["database permissions"]["remedy"]
    (tmp_path / "mintmark.sqlite3").chmod(0o600)
    monkeypatch.setattr(examination, "access", lambda *_: False)
    assert "chown" in problems(line)["database permissions"]["remedy"]


def test_a_database_in_memory_is_out_of_sight(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_DATABASE", "memory:")
    seen = line.json("doctor")
    assert {f["check"]: f["status"] for f in seen["findings"]}["database"] == "skipped"
    assert "only the serving process can see" in line.refused("client", "list")


def test_nobody_can_sign_in(line: Line) -> None:
    line("user", "disable", ADMIN, "--yes")
    assert "mintmark user create" in problems(line)["users"]["remedy"]


def test_no_key_signs(line: Line) -> None:
    (kid,) = [k["kid"] for k in line.json("keys", "list") if (k["alg"], k["state"]) == ("ES256", "active")]
    line("keys", "retire", kid, "--emergency", "--yes")
    assert "the next one signs in 240 s" in problems(line)["ES256 key"]["remedy"]


def test_a_client_with_problems(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    async def smuggle() -> None:
        async with running(load(), opening.real_world()) as authority:
            await authority.store.clients.add(Client(client_id="old", name="Old", redirect_uris=("http://x.example",)))

    asyncio.run(smuggle())
    findings = [f for f in line.json("doctor", expect=1)["findings"] if f["check"] == "client old"]
    assert len(findings) == 2
    assert "it must use https" in findings[0]["what"]
    assert "mintmark client update old" in findings[0]["remedy"]
    assert "mintmark client rotate-secret old" in findings[1]["remedy"]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Answer every request so; yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.replace(b"SELF", f"http://127.0.0.1:{self.server.server_port}".encode()))  # type: ignore[attr-defined]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (200, b'{"issuer": "SELF"}', None),
        (200, b'{"issuer": "https://auth.example.com"}', "names the issuer 'https://auth.example.com'"),
        (200, b"[]", "names the issuer None"),
        (200, b"<html>", "is no metadata"),
        (404, b"", "answers 404"),
    ],
)
def test_who_answers_at_the_issuer(
    line: Line, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, what: str | None
) -> None:
    with answering(status, body) as url:
        monkeypatch.setenv("MINTMARK_ISSUER", url)
        if what is None:
            assert [f["status"] for f in line.json("doctor")["findings"] if f["check"] == "server"] == ["ok"]
        else:
            assert what in problems(line)["server"]["what"]


def test_the_finding_never_steers_the_terminal(line: Line, tmp_path: Path) -> None:
    strange = tmp_path / "a\x1b[31mb"
    shutil.copy(tmp_path / "mintmark.sqlite3", strange)
    os.environ["MINTMARK_DATABASE"] = str(strange)
    try:
        assert "\x1b" not in line("doctor").output
        assert "\x1b" not in json.dumps(line.json("doctor"))
    finally:
        del os.environ["MINTMARK_DATABASE"]
