"""What `pip install mintmark` brings: a verifier, at most four packages, and every file the code reads."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
MAX_THIRD_PARTY_PACKAGES = 4


def uv(*arguments: str | Path) -> str:
    """Run uv, whether the machine has it or scripts/bootstrap brought it."""
    found = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    assert found, "uv is missing: run `make check`, which brings it"
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    command = [found, *map(str, arguments)]
    outcome = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--python", sys.executable, "--out-dir", out)
    (built,) = out.glob("mintmark-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter where the wheel's base install is all there is."""
    venv = tmp_path_factory.mktemp("venv") / "venv"
    uv("venv", "--python", sys.executable, venv)
    interpreter = venv / "bin" / "python"
    uv("pip", "install", "--python", interpreter, wheel)
    return interpreter


def test_the_base_install_brings_at_most_four_packages(python: Path) -> None:
    installed = {line.partition("==")[0] for line in uv("pip", "freeze", "--python", python).splitlines()}
    third_party = {name for name in installed if not name.startswith("mintmark")}
    assert "cryptography" in third_party
    assert len(third_party) <= MAX_THIRD_PARTY_PACKAGES, third_party


def test_the_base_install_can_be_imported(python: Path, tmp_path: Path) -> None:
    code = "import mintmark, mintmark.jose, mintmark.oauth, mintmark.verifier; print(mintmark.__file__)"
    outcome = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert Path(outcome.stdout.strip()).is_relative_to(python.parents[1])


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = {
        path.relative_to(SRC).as_posix()
        for path in (SRC / "mintmark").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert source - packed == set()


@pytest.mark.parametrize(
    ("below", "suffix"),
    [
        ("mintmark/py.typed", ""),
        ("mintmark/pages/templates/", ".html"),
        ("mintmark/pages/static/", ".css"),
        ("mintmark/storage/migrations/", ".sql"),
    ],
)
def test_the_wheel_has_what_the_code_reads_at_run_time(wheel: Path, below: str, suffix: str) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    assert [name for name in packed if name.startswith(below) and name.endswith(suffix)]


def test_the_command_says_what_it_needs(python: Path, tmp_path: Path) -> None:
    command = [str(python.parent / "mintmark"), "--help"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert "(click)" in outcome.stderr
    assert "extra `server`" in outcome.stderr
    assert "Traceback" not in outcome.stderr
