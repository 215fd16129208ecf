"""`mintmark init` and `mintmark serve` in processes of their own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from tests.unit.cli.processes import clean_environment, free_port, started

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery staple"


def run(*args: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mintmark.cli.main", *args]
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False
    )


@pytest.fixture
def issuer() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def folder(tmp_path: Path, issuer: str) -> Path:
    """Return a folder where `mintmark init` has been."""
    folder = tmp_path / "authority"
    args = ("init", "--dir", str(folder), "--issuer", issuer, "--admin-email", "ada@example.com", "--password-stdin")
    made = run(*args, "--json", typed=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    (tmp_path / "made.json").write_text(made.stdout)
    return folder


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_one_line_works_and_stops(tmp_path: Path, folder: Path, issuer: str, kind: signal.Signals) -> None:
    config = ("--config", str(folder / "mintmark.toml"))
    opener = build_opener(ProxyHandler({}))
    with started(tmp_path, "serve", *config) as process:
        process.read_until("mintmark is ready")
        assert process.shown == f"mintmark is ready: {issuer} (listening on {issuer})\n"
        with opener.open(f"{issuer}/readyz", timeout=5) as response:
            assert response.status == 200
            assert "server" not in {name.lower() for name in response.headers}
        client = json.loads((tmp_path / "made.json").read_text())["client"]
        form = f"grant_type=client_credentials&client_id=first-client&client_secret={client['client_secret']}"
        with opener.open(Request(f"{issuer}/api/v2/auth/token", form.encode()), timeout=5) as response:
            token = json.load(response)["access_token"]
        # The command line works beside the server, on the same database.
        assert json.loads(run("token", "inspect", "--json", *config, typed=token).stdout)["active"] is True
        doctor = run("doctor", *config)
        assert doctor.returncode == 0, doctor.stdout
        assert f"server: {issuer} answers, with keys of this database" in doctor.stdout
        assert "All is well." in doctor.stdout
        again = run("serve", *config)
        assert again.returncode == 1
        assert "is taken" in again.stderr
        assert "in mintmark.toml" in again.stderr
        process.send_signal(kind)
        assert process.wait(15) == 0
        assert "mintmark has stopped." in process.errors()
        assert "Traceback" not in process.errors()
    assert not (folder / "mintmark.sqlite3-wal").exists()


def test_serve_with_the_wrong_master_key(folder: Path) -> None:
    (folder / "mintmark.key").write_text("ab" * 32)
    failed = run("serve", "--config", str(folder / "mintmark.toml"))
    assert failed.returncode == 1
    assert "the master key is not the one" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_serve_with_a_database_that_is_none(folder: Path) -> None:
    (folder / "mintmark.sqlite3").write_bytes(b"nothing like it " * 512)
    failed = run("serve", "--config", str(folder / "mintmark.toml"))
    assert failed.returncode == 1
    assert "cannot be used" in failed.stderr
    assert "mintmark doctor" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_serve_with_wrong_settings_lists_them_all(folder: Path) -> None:
    with (folder / "mintmark.toml").open("a") as file:
        file.write("\n[nonsense]\n")
    text = (folder / "mintmark.toml").read_text()
    (folder / "mintmark.toml").write_text(text.replace("port = ", "prot = "))
    failed = run("serve", "--config", str(folder / "mintmark.toml"))
    assert failed.returncode == 2
    assert "There are 2 problems with the settings" in failed.stderr
    assert "did you mean port?" in failed.stderr


def test_init_does_not_overwrite_itself(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = run("init", "--dir", str(folder), "--admin-email", "eve@example.com", "--password-stdin", typed=PASSWORD)
    assert again.returncode == 1
    assert "mintmark.toml, mintmark.key, mintmark.sqlite3 already" in again.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
