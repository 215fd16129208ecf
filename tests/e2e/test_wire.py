"""What only a real socket shows: who sends headers without end, or says where a request came from."""

import http.client
import socket
from collections.abc import Iterator

import pytest
from tests.unit.cli.processes import free_port, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with started(tmp_path_factory.mktemp("dev"), "dev", "--port", str(port)) as process:
        process.read_until("Stop with Ctrl-C.")
        yield port


def status_of(port: int, path: str, headers: dict[str, str] | None = None, body: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body=body, headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def _pour(connection: socket.socket) -> None:
    for _ in range(2_000):
        connection.sendall(b"a" * 65_536)


def test_headers_without_end_are_cut_off(port: int) -> None:
    assert status_of(port, "/livez", {"x-long": "a" * 20_000}) == 200
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-long: ")
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            _pour(connection)
    assert status_of(port, "/livez") == 200


def test_nobody_says_where_a_request_came_from(port: int) -> None:
    """Each wrong secret claims another origin; they are slowed down all the same."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = "grant_type=client_credentials&client_id=demo-service&client_secret=wrong"
    seen = [
        status_of(port, "/api/v2/auth/token", {**form, "x-forwarded-for": f"198.51.100.{number}"}, body)
        for number in range(30)
    ]
    assert seen[0] == 401
    assert 429 in seen
