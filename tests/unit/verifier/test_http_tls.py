"""TLS over real sockets: whom a verifier believes to be the authority."""

import ssl
import warnings
from pathlib import Path

import pytest
from tests.support.raw_http import CertificateAuthority, Conversation, RawServer, always_saying, answer
from tests.unit.verifier.http_things import UNTIL_CLOSED, authority, get, refuses, transport, trusting

from mintmark.verifier.http import HTTPTransport

__all__ = ["authority", "transport", "trusting"]


def test_tls_is_spoken_with_whom_the_authority_vouches_for(
    authority: CertificateAuthority, trusting: HTTPTransport
) -> None:
    with always_saying(answer(b"hello"), authority.server("localhost", "127.0.0.1")) as server:
        assert get(trusting, server.url("localhost")).body == b"hello"
        assert get(trusting, server.url("127.0.0.1")).body == b"hello"
        assert get(trusting, server.url("127.0.0.1")).body == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("names", "first_day", "last_day", "text"),
    [
        (["auth.example", "127.0.0.1"], -1, 1, "the certificate is for another host"),
        (["*.localhost"], -1, 1, "the certificate is for another host"),
        (["localhost"], -2, -1, "the certificate has expired"),
        (["localhost"], 1, 2, "the certificate is not valid yet"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(
    authority: CertificateAuthority, trusting: HTTPTransport, names: list[str], first_day: int, last_day: int, text: str
) -> None:
    with always_saying(answer(), authority.server(*names, first_day=first_day, last_day=last_day)) as server:
        assert refuses(trusting, server.url("localhost")) == text
        assert server.requests == []


def test_a_certificate_for_another_address_is_refused(authority: CertificateAuthority, trusting: HTTPTransport) -> None:
    with always_saying(answer(), authority.server("localhost", "127.0.0.2")) as server:
        assert refuses(trusting, server.url("127.0.0.1")) == "the certificate is for another address"


def test_an_unknown_authority_is_refused(tmp_path: Path, trusting: HTTPTransport, transport: HTTPTransport) -> None:
    other = CertificateAuthority(tmp_path, "other")
    with always_saying(answer(), other.server("localhost")) as server:
        for one in (trusting, transport):
            assert refuses(one, server.url("localhost")) == "the certificate is from no authority we trust"
        assert server.requests == []


def test_the_system_s_authorities_are_read_when_tls_is_spoken_first(
    authority: CertificateAuthority, transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verifier has a transport, and reading them takes 50 ms."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    with always_saying(answer(b"hello"), authority.server("localhost")) as server:
        assert get(transport, server.url("localhost")).body == b"hello"


def test_tls_before_1_2_is_refused(authority: CertificateAuthority, trusting: HTTPTransport) -> None:
    old = authority.server("localhost")
    old.set_ciphers("ALL:@SECLEVEL=0")
    # What the client would do is what is asked here; its own library would refuse as well, at its default level.
    assert trusting._context is not None
    trusting._context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with always_saying(answer(), old) as server:
        assert refuses(trusting, server.url("localhost")) in {"TLS failed", "the connection broke"}
        assert server.requests == []


def test_a_server_that_speaks_no_tls_is_refused(trusting: HTTPTransport) -> None:
    with RawServer(lambda conversation: conversation.say(answer(b"plain"))) as server:
        assert refuses(trusting, f"https://127.0.0.1:{server.port}/") in {
            "TLS failed",
            "the connection broke or could not be made",
        }


@pytest.mark.spec("RFC 9112 §9.8")
def test_a_body_that_ends_with_the_connection_is_whole_only_if_tls_says_so(
    authority: CertificateAuthority, trusting: HTTPTransport
) -> None:
    def talk(conversation: Conversation) -> None:
        is_polite = b"polite" in conversation.request()
        conversation.say(UNTIL_CLOSED + b"half of a ")
        if is_polite and isinstance(conversation.sock, ssl.SSLSocket):
            conversation.sock.unwrap()

    with RawServer(talk, authority.server("localhost")) as server:
        assert get(trusting, server.url("localhost", "/polite")).body == b"half of a "
        assert refuses(trusting, server.url("localhost", "/rude")) == "the connection broke"


def test_a_file_without_certificates_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HTTPTransport(ca_file=str(tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        HTTPTransport(ca_file=str(tmp_path / "empty.pem"))
