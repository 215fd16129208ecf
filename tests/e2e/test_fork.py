"""Forks at any moment, while threads verify, against a real authority: nothing hangs, and no revocation is missed."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.support.serving import ROOT, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_children_forked_at_any_moment_verify_and_hear_of_revocations(tmp_path: Path) -> None:
    with served(tmp_path, "http://127.0.0.1:1") as authority:
        command = [sys.executable, "-m", "tests.e2e.forking", json.dumps(asdict(authority))]
        outcome = subprocess.run(
            command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=500, check=False
        )
    assert outcome.returncode == 0, outcome.stderr[-8000:]
