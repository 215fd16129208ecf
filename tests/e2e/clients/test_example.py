"""The application of the README, as it stands in ``examples``: sign in, say no, sign out."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.e2e.clients.person import Person
from tests.support.serving import ROOT, Served

pytestmark = pytest.mark.slow


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def example(authority: Served) -> Iterator[str]:
    port = _free_port()
    settings = {
        "PORT": str(port),
        "ISSUER": authority.issuer,
        "CLIENT_ID": "web",
        "CLIENT_SECRET": authority.secrets["web"],
    }
    process = subprocess.Popen([sys.executable, ROOT / "examples" / "login.py"], env={**os.environ, **settings})
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the example does not start")


def test_the_example_signs_in_and_out(person: Person, example: str) -> None:
    page = person.page
    person.go(f"{example}/login")
    person.fill_in()
    page.click("#allow")
    page.wait_for_url(f"{example}/")
    assert "Hello" in page.inner_text("body")
    page.click("text=Sign out")
    person.arrives_at("/signed-out")
    person.go(example)
    assert "Sign in" in page.inner_text("body")


def test_the_example_survives_a_no(person: Person, example: str) -> None:
    person.go(f"{example}/login")
    person.fill_in()
    person.page.click("#deny")
    person.arrives_at("/callback")
    assert "Not signed in: The person said no" in person.page.inner_text("body")
