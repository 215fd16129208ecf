"""Transports, and how tests ask with them."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.raw_http import CertificateAuthority

from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import Response, TransportError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
END = b"0\r\n\r\n"


@pytest.fixture
def transport() -> Iterator[HTTPTransport]:
    transport = HTTPTransport()
    yield transport
    transport.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusting(authority: CertificateAuthority) -> Iterator[HTTPTransport]:
    """A transport that trusts the authority made for the tests."""
    transport = HTTPTransport(ca_file=authority.file)
    yield transport
    transport.close()


def get(transport: HTTPTransport, url: str, *, timeout: float = 20, max_bytes: int = 1000, **headers: str) -> Response:
    return transport.request("GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)


def refuses(transport: HTTPTransport, url: str, **options: Any) -> str:
    with pytest.raises(TransportError) as caught:
        get(transport, url, **options)
    return str(caught.value)
