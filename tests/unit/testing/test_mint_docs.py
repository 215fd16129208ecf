"""What docs/testing.md shows works, also where nothing but mintmark's base install and pytest is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.test_wheel import ROOT, uv
from tests.unit.testing.test_mint_plugin import clean_environment

SNIPPET = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TESTS = 8


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project made of the snippets, each of which names its file."""
    text = (ROOT / "docs" / "testing.md").read_text()
    snippets = SNIPPET.findall(text)
    assert len(snippets) == text.count("```python")
    for name, source in snippets:
        (tmp_path / name).write_text(source)
    return tmp_path


def outcome_of(python: str | Path, project: Path) -> str:
    outcome = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.mark.slow
def test_the_snippets_are_tests_that_pass(project: Path) -> None:
    assert f"{TESTS} passed" in outcome_of(sys.executable, project)


def test_every_method_is_in_the_table() -> None:
    from mintmark.testing import Mint

    text = (ROOT / "docs" / "testing.md").read_text()
    public = {name for name in vars(Mint) if not name.startswith("_")} - {"close"}
    assert {name for name in public if f"mint.{name}" not in text} == set()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_base_install_and_pytest_are_enough(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("installed")
    uv("build", "--wheel", "--python", sys.executable, "--out-dir", place)
    (wheel,) = place.glob("mintmark-*.whl")
    python = place / "venv" / "bin" / "python"
    uv("venv", "--python", sys.executable, place / "venv")
    uv("pip", "install", "--python", python, f"mintmark[testing] @ {wheel.as_uri()}")
    installed = {
        line.partition("==")[0].partition(" ")[0] for line in uv("pip", "freeze", "--python", python).split("\n")
    }
    assert installed - {""} == {
        *("mintmark", "cryptography", "cffi", "pycparser", "msgspec"),
        *("pytest", "iniconfig", "packaging", "pluggy", "pygments"),
    }
    assert f"{TESTS} passed" in outcome_of(python, project)
    shutil.rmtree(place)
