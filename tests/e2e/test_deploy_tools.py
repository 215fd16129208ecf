"""What stands under ``deploy/``, taken by the programs it is for: systemd's, Prometheus's, Redis, PostgreSQL."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.support.postgres import PostgreSQL, binary
from tests.support.redis import valkey_program
from tests.support.serve import Home, home
from tests.unit.cli.processes import clean_environment, free_port
from tests.unit.deploy.deployed import DEPLOY
from tests.unit.deploy.test_deploy_containers import last_stage
from tests.unit.deploy.test_deploy_monitoring import expressions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MOST_EXPOSED = 15
"""Tenths: systemd's measure goes from 0 (nothing can be reached) to 10."""


def run(
    *command: str, folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    variables = {**clean_environment(), **environment}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


# --- systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, starting the mintmark that is tested."""
    installed = Path(sys.executable).parent / "mintmark"
    assert installed.exists()
    text = (DEPLOY / "systemd" / "mintmark.service").read_text()
    assert "/opt/mintmark/bin/mintmark " in text
    path = tmp_path / "mintmark.service"
    path.write_text(text.replace("/opt/mintmark/bin/mintmark", str(installed)))
    return path


def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    found = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (found.returncode, found.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notifi"))
    assert "notifi" in run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)).stderr


def test_the_unit_leaves_little_to_reach(unit: Path) -> None:
    command = ("systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit))
    found = run(*command)
    assert found.returncode == 0, found.stdout
    unit.write_text(unit.read_text().replace("ProtectSystem=strict\n", "").replace("PrivateDevices=yes\n", ""))
    assert run(*command).returncode != 0


def test_the_user_is_one_that_systemd_can_make(tmp_path: Path) -> None:
    rules = DEPLOY / "systemd" / "mintmark.sysusers.conf"
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    made = run("systemd-sysusers", f"--root={root}", "--dry-run", str(rules))
    assert made.returncode == 0, made.stderr
    assert "mintmark" in made.stdout + made.stderr
    assert "User=mintmark\n" in (DEPLOY / "systemd" / "mintmark.service").read_text()


# --- Prometheus


def test_prometheus_takes_the_rules() -> None:
    for command in (
        ("check", "rules", "rules.yaml"),
        ("test", "rules", "rules_test.yaml"),
        ("check", "config", "prometheus.yaml"),
    ):
        found = run("promtool", *command, folder=DEPLOY / "monitoring")
        assert found.returncode == 0, found.stdout + found.stderr
        assert "SUCCESS" in found.stdout


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in expressions()]
    assert not [text for text in asked if "$" in text]
    rules = [{"record": f"shown:{number}", "expr": text} for number, text in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    found = run("promtool", "check", "rules", "rules.yaml", folder=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


# --- the image and the composition


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home(tmp_path_factory.mktemp("home"))


def test_the_image_tells_a_node_that_is_ready_from_one_that_is_not(place: Home) -> None:
    (check,) = [text for word, text in last_stage() if word == "HEALTHCHECK"]
    _, *asking = json.loads(check.partition("CMD ")[2])
    asking = [word.replace("8080", str(place.port)) for word in asking]
    assert run(sys.executable, *asking).returncode != 0
    with place.serving("--drain-delay", "60") as process:
        assert run(sys.executable, *asking).returncode == 0
        process.send_signal(signal.SIGTERM)
        # It goes on answering, and says, once the signal arrived, that it is about to leave.
        answers = (run(sys.executable, *asking, folder=place.folder).returncode for _ in range(100))
        assert next((code for code in answers if code != 0), None) == 1
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(params=["valkey-server", "redis-server"])
def valkey(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Valkey, or Redis in its place, started by the script of the composition."""
    port, password = free_port(), tmp_path / "password"
    password.write_text("pa55 word\n")
    environment = clean_environment() | {
        "VALKEY_SERVER": valkey_program() if request.param == "valkey-server" else "redis-server",
        "VALKEY_PORT": str(port),
        "REDIS_PASSWORD_FILE": str(password),
    }
    with (
        (tmp_path / "output.txt").open("wb") as output,
        subprocess.Popen(
            ["sh", str(DEPLOY / "docker" / "valkey.sh")], cwd=tmp_path, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            for _ in range(500):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
            assert process.poll() is None, (tmp_path / "output.txt").read_text()
            # Told by the signal that Docker sends to the first process: the script has become the server.
            assert request.param.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert b"pa55" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def test_the_script_of_valkey_asks_for_the_password_and_keeps_nothing(valkey: int) -> None:
    def said(command: str, password: str) -> str:
        return run("redis-cli", "-p", str(valkey), *command.split(), environment={"REDISCLI_AUTH": password}).stdout

    assert "PONG" in said("ping", "pa55 word")
    assert "PONG" not in said("ping", "wrong")
    assert "NOAUTH" in run("redis-cli", "-p", str(valkey), "ping").stdout
    assert said("config get maxmemory-policy", "pa55 word").split() == ["maxmemory-policy", "noeviction"]
    assert said("config get save", "pa55 word").split() == ["save"]


def is_verifier_of(password: str, stored: str) -> bool:
    """Tell whether PostgreSQL stored this password (RFC 5802 §3)."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):.*", stored)
    assert found is not None, stored
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(found[2]), int(found[1]))
    return hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest() == base64.b64decode(found[3])


def test_the_script_of_postgresql_makes_a_role_that_owns_its_database_only(
    postgresql_server: PostgreSQL, tmp_path: Path
) -> None:
    # The server of the tests has a role and a database of this name already.
    script = re.sub(r"\bmintmark\b", "deployed", (DEPLOY / "docker" / "postgres.sh").read_text())
    (tmp_path / "postgres.sh").write_text(script)
    password = "it's a \\pa55\"w$ord `id`"
    (tmp_path / "password").write_text(f"{password}\n")
    environment = {
        "PATH": f"{Path(binary('psql')).parent}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgresql_server.port),
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    made = run("sh", str(tmp_path / "postgres.sh"), environment=environment)
    try:
        assert (made.returncode, made.stderr) == (0, "")
        role = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolpassword"
        (found,) = postgresql_server.execute(f"{role} FROM pg_authid WHERE rolname = 'deployed'")
        is_mighty, _, stored = found.partition("|")
        assert is_mighty == "f"
        assert is_verifier_of(password, stored)
        assert not is_verifier_of("another", stored)
        owner = "SELECT pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT') FROM pg_database"
        assert postgresql_server.execute(f"{owner} WHERE datname = 'deployed'") == ["deployed|f"]
    finally:
        postgresql_server.execute("DROP DATABASE IF EXISTS deployed")
        postgresql_server.execute("DROP ROLE IF EXISTS deployed")
