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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import Installation
from tests.support.redis import RedisServer
from tests.unit.cli.command_line import ADMIN, Line

from mintmark.authority.model import Client
from mintmark.bootstrap import running
from mintmark.cli import examination, opening
from mintmark.config import load
from mintmark.storage.memory import MemoryStore


@pytest.fixture(autouse=True)
def nobody_listens(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the issuer be a port where nothing answers."""
    monkeypatch.setenv("MINTMARK_ISSUER", "http://127.0.0.1:9")
    monkeypatch.setenv("MINTMARK_PORT", "9")


def problems(line: Line) -> dict[str, Any]:
    """Return what is wrong, by the name of the check."""
    seen = line.json("doctor", expect=1)
    assert seen["well"] is False
    found = {finding["check"]: finding for finding in seen["findings"] if finding["status"] == "problem"}
    assert all(finding["remedy"] for finding in found.values() if finding["check"] != "settings")
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
    assert "Nothing is wrong with what could be looked at (1 skipped).\n" in line("doctor").stdout


async def test_keys_that_nobody_has_made_yet_are_no_problem(mint: Installation) -> None:
    """As after `mintmark migrate`, before the first node has started."""
    found = [
        finding async for finding in examination.examine_authority(mint.authority) if finding.check.endswith("key")
    ]
    assert [finding.status for finding in found] == ["ok"] * 3
    fresh = replace(mint.authority, store=MemoryStore(), keyring=replace(mint.authority.keyring, rows=()))
    found = [finding async for finding in examination.examine_authority(fresh) if "key" in finding.check]
    assert [(finding.check, finding.status) for finding in found] == [("master key", "ok"), ("keys", "skipped")]


def test_a_redis_that_is_away_is_a_problem(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTMARK_REDIS", "redis://127.0.0.1:9/0")
    found = problems(line)
    assert set(found) == {"redis"}
    assert "redis://127.0.0.1:9/0 cannot be used" in found["redis"]["what"]


@pytest.mark.slow
def test_a_redis_that_answers_is_well(line: Line, monkeypatch: pytest.MonkeyPatch, redis: RedisServer) -> None:
    monkeypatch.setenv("MINTMARK_REDIS", redis.url)
    assert {"check": "redis", "status": "ok", "what": f"{redis.url} answers", "remedy": ""} in line.json("doctor")[
        "findings"
    ]


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
    assert "->" not in result.stdout  # each says itself how to mend it


def test_a_master_key_that_everybody_can_read(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").chmod(0o644)
    assert "chmod 600" in problems(line)["settings"]["what"]


def test_no_master_key_at_all(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").unlink()
    found = problems(line)["settings"]
    assert "cannot be read" in found["what"]
    assert found["remedy"].startswith("restore it from its backup: nothing else opens a database that")
    assert "for a new installation `openssl rand -hex 32`" in found["remedy"]


@pytest.mark.parametrize(
    ("variable", "remedy"), [("MINTMARK_PREVIOUS_MASTER_KEYS_FILE", "or take it out"), ("MINTMARK_CONFIG", "")]
)
def test_other_files_that_are_missing(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, remedy: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    first = line.json("doctor", expect=1)["findings"][0]
    assert "cannot be read" in first["what"]
    assert remedy in first["remedy"]


def test_settings_that_are_no_toml_or_not_for_this_user(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "mintmark.toml").open("a") as file:
        file.write("\nx")
    assert "correct that line" in line.json("doctor", expect=1)["findings"][0]["remedy"]
    monkeypatch.setenv("MINTMARK_MASTER_KEY_FILE", str(tmp_path))
    assert "let this user read it" in line.json("doctor", expect=1)["findings"][0]["remedy"]


def test_no_settings_at_all(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mintmark.toml").unlink()
    monkeypatch.delenv("MINTMARK_ISSUER")
    monkeypatch.delenv("MINTMARK_PORT")
    (finding,) = line.json("doctor", expect=1)["findings"]
    assert finding["what"] == f"there is no mintmark.toml in {tmp_path}"
    assert finding["remedy"] == "go to the folder of `mintmark init`, run it, or give --config FILE"
    assert f"there is no mintmark.toml in {tmp_path}; go to the folder" in line.refused("user", "list", expect=2)
    monkeypatch.setenv("MINTMARK_PORT", "x")
    first, second, third = (finding["what"] for finding in line.json("doctor", expect=1)["findings"])
    assert "no mintmark.toml" in first
    assert "MINTMARK_PORT" in second + third
    assert "MINTMARK_ISSUER" in second + third


@pytest.mark.parametrize(
    ("issuer", "is_well"),
    [
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
        ("https://127.0.0.1:8", True),
        ("http://127.0.0.1:8", False),
        ("http://localhost", False),
    ],
)
def test_an_issuer_at_another_port(line: Line, monkeypatch: pytest.MonkeyPatch, issuer: str, is_well: bool) -> None:
    monkeypatch.setenv("MINTMARK_ISSUER", issuer)
    found = [
        finding for finding in line.json("doctor", expect=int(not is_well))["findings"] if finding["check"] == "port"
    ]
    assert bool(found) != is_well
    if found:
        assert "names port 8" in found[0]["what"]
        assert ':9"` in mintmark.toml' in found[0]["remedy"]


def test_another_master_key(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.key").write_text("ab" * 32)
    found = problems(line)
    assert found.keys() == {"master key"}
    assert "previous_master_keys" in found["master key"]["remedy"]
    statuses = {finding["check"]: finding["status"] for finding in line.json("doctor", expect=1)["findings"]}
    assert statuses["RS256 key"] == statuses["ES256 key"] == "skipped"


def test_no_database(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").unlink()
    remedy = problems(line)["database"]["remedy"]
    assert "restore it from a backup; to start over, move mintmark.toml and the key file away" in remedy
    assert not (tmp_path / "mintmark.sqlite3").exists()


def test_an_empty_database(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").write_bytes(b"")
    found = problems(line)["database"]
    assert "is empty: it has no accounts and no keys yet" in found["what"]
    assert "restore it from a backup; to start over, move it," in found["remedy"]
    assert "There are no users" in line("user", "list").stderr


def test_no_database_of_ours(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").write_bytes(b"this is not a database, not at all, really not" * 40)
    assert "restore the newest backup" in problems(line)["database"]["remedy"]


def test_a_damaged_database(line: Line, tmp_path: Path) -> None:
    with (tmp_path / "mintmark.sqlite3").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 8)
    assert "damaged" in problems(line)["database"]["what"]
    assert "\\n" not in line("doctor", expect=1).stdout


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
    assert len(findings) == 3
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
        (200, b'{"issuer": "SELF", "keys": [{"kid": "KID"}]}', None),
        (200, b'{"issuer": "SELF", "keys": [{"kid": "other"}, {}]}', "another authority answers"),
        (200, b'{"issuer": "SELF", "keys": "none"}', "another authority answers"),
        (200, b'{"issuer": "https://auth.example.com"}', "names the issuer 'https://auth.example.com'"),
        (200, b"{}", "names the issuer None"),
        (200, b"[]", "is no metadata: not an object"),
        (200, b"<html>", "is no metadata"),
        (404, b"", "answers 404"),
    ],
)
def test_who_answers_at_the_issuer(
    line: Line, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, what: str | None
) -> None:
    kid = line.json("keys", "list")[0]["kid"]
    with answering(status, body.replace(b"KID", kid.encode())) as url:
        monkeypatch.setenv("MINTMARK_ISSUER", url)
        monkeypatch.setenv("MINTMARK_PORT", url.rpartition(":")[2])
        if what is None:
            assert [f["status"] for f in line.json("doctor")["findings"] if f["check"] == "server"] == ["ok"]
        else:
            assert what in problems(line)["server"]["what"]


def test_who_answers_without_a_database_to_compare(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mintmark.sqlite3").unlink()
    with answering(200, b'{"issuer": "SELF"}') as url:
        monkeypatch.setenv("MINTMARK_ISSUER", url)
        (server,) = (f for f in line.json("doctor", expect=1)["findings"] if f["check"] == "server")
    assert (server["status"], "could not be compared" in server["what"]) == ("ok", True)


def test_another_server_without_keys(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = examination.Finding("server", "problem", "gone", "look")
    answers: list[Any] = [{"issuer": "http://127.0.0.1:9"}, gone]
    monkeypatch.setattr(examination, "_fetched", lambda *_: answers.pop(0))
    assert problems(line)["server"]["what"] == "gone"


def test_scopes_that_nobody_understands(line: Line) -> None:
    line("client", "create", "web", "--redirect-uri", "https://app.example/cb")
    line("client", "create", "billing", "--scope", "orders:read openid")
    found = problems(line)
    assert "has redirect URIs but no scope" in found["client web"]["what"]
    assert "no resource that it may name has the scope orders:read," in found["client billing"]["what"]
    assert "mintmark resource create" in found["client billing"]["remedy"]
    line("resource", "create", "https://api.example", "--scope", "orders:read")
    assert (
        "`mintmark client update billing --resource https://api.example`" in problems(line)["client billing"]["remedy"]
    )


def test_the_finding_never_steers_the_terminal(line: Line, tmp_path: Path) -> None:
    strange = tmp_path / "a\x1b[31mb"
    shutil.copy(tmp_path / "mintmark.sqlite3", strange)
    os.environ["MINTMARK_DATABASE"] = str(strange)
    try:
        assert "\x1b" not in line("doctor").output
        assert "\x1b" not in json.dumps(line.json("doctor"))
    finally:
        del os.environ["MINTMARK_DATABASE"]
