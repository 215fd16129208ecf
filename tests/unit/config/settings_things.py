"""Settings as they come from the environment, and what is said of wrong ones."""

from pathlib import Path

import pytest

from mintmark.config import ConfigError, Settings, load

ISSUER = "https://auth.example.com"
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def of(**variables: str) -> Settings:
    """Load from variables given without prefix, above an issuer."""
    return load(environ={"MINTMARK_ISSUER": ISSUER} | {f"MINTMARK_{name}": value for name, value in variables.items()})


def problem_of(**variables: str) -> str:
    """Return the one problem that these variables have."""
    with pytest.raises(ConfigError) as caught:
        of(**variables)
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is empty: there is no file of settings."""
    monkeypatch.chdir(tmp_path)
