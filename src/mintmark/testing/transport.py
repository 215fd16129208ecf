"""The way to the issuer in memory: HTTP without a network, which can be cut."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from mintmark.testing.edge import Edge, Request
from mintmark.verifier.ports import Response, Stream, TransportError

Trouble = Literal["outage", "lost response"]


@dataclass(slots=True)
class _Body:
    """A response body that came whole: there is nothing after it."""

    status: int
    headers: Mapping[str, str]
    _rest: bytes

    def read(self) -> bytes:
        portion, self._rest = self._rest, b""
        return portion

    def close(self) -> None:
        self._rest = b""


class MemoryTransport:
    """Brings requests to one issuer: the port `mintmark.verifier.ports.Transport`.

    Attributes:
        trouble: What is the matter with the way; ``None`` if nothing is.
    """

    def __init__(self, edge: Edge) -> None:
        self.trouble: Trouble | None = None
        self._edge = edge

    def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float,  # noqa: ARG002 - the port's; nothing takes time here
        max_bytes: int,
    ) -> Response:
        """Ask the issuer.

        Raises:
            TransportError: It cannot be reached, the answer was lost or is longer than ``max_bytes``.
        """
        response = self._ask(
            Request(method, url, {name.lower(): value for name, value in headers.items()}, body or b"")
        )
        if len(response.body) > max_bytes:
            raise TransportError("the answer is too long")
        return response

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        connect_timeout: float,  # noqa: ARG002
        read_timeout: float,  # noqa: ARG002
    ) -> Iterator[Stream]:
        """Open a stream; its body ends when everything there is was sent.

        Raises:
            TransportError: The issuer cannot be reached.
        """
        response = self._ask(Request("GET", url, {name.lower(): value for name, value in headers.items()}))
        yield _Body(response.status, response.headers, response.body)

    def _ask(self, request: Request) -> Response:
        if self.trouble == "outage":
            raise TransportError("the issuer cannot be reached")
        if not self._edge.owns(request.url):
            raise TransportError("nobody but the issuer can be reached in memory")
        response = self._edge.answer(request)
        if self.trouble == "lost response":
            raise TransportError("the response was lost")
        return response
