"""How each gateway tells of the request it is about to forward, and which answers it can pass on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mintmark.verifier.guard.headers import is_counterfeit
from mintmark.verifier.guard.paths import Unreadable
from mintmark.verifier.guard.routes import METHOD

ENVOY_PREFIX: Final = b"/envoy"
_COUNTERFEIT: Final = "a header that could be taken for one of ours"


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that is to be judged.

    Attributes:
        method: As in its request line.
        target: As in its request line; path and query.
        authorization: Its ``Authorization`` headers.
    """

    method: str
    target: str = field(repr=False)
    authorization: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """One kind of gateway.

    Attributes:
        name: As in the metrics.
        read: Finds the request to judge in the one that the gateway sent (an ASGI scope).

            Raises `Unreadable`.
        bad_token_status: Instead of 400 where a token was sent wrongly.
        bad_request_status: Instead of 400 for any other reason.
    """

    name: str
    read: Callable[[Mapping[str, Any]], Asked]
    bad_token_status: int = 400
    bad_request_status: int = 400


def _told_by_headers(method_header: bytes, target_header: bytes) -> Callable[[Mapping[str, Any]], Asked]:
    def read(scope: Mapping[str, Any]) -> Asked:
        found: dict[bytes, list[str]] = {method_header: [], target_header: [], b"authorization": []}
        for name, value in scope["headers"]:
            if name in found:
                found[name].append(value.decode("latin-1"))
            elif is_counterfeit(name):
                raise Unreadable(_COUNTERFEIT)
        methods, targets, authorization = found.values()
        if len(methods) != 1 or len(targets) != 1:
            # Should the gateway not set them, the client could.
            raise Unreadable(f"{method_header.decode()} and {target_header.decode()} have to be there, once")
        return Asked(_told_method(methods[0]), targets[0], tuple(authorization))

    return read


def _told_by_request_line(scope: Mapping[str, Any]) -> Asked:
    authorization = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization.append(value.decode("latin-1"))
        elif is_counterfeit(name):
            raise Unreadable(_COUNTERFEIT)
    target = scope["raw_path"].removeprefix(ENVOY_PREFIX).decode("latin-1")
    return Asked(_told_method(scope["method"]), target, tuple(authorization))


def _told_method(method: str) -> str:
    if not METHOD.fullmatch(method):
        raise Unreadable("the method is not in capital letters")
    return method


_ORIGINAL: Final = _told_by_headers(b"x-original-method", b"x-original-uri")

# nginx's auth_request makes 500 of every answer but 2xx, 401 and 403.
NGINX: Final = Gateway("nginx", _ORIGINAL, bad_token_status=401, bad_request_status=403)
TRAEFIK: Final = Gateway("traefik", _told_by_headers(b"x-forwarded-method", b"x-forwarded-uri"))
ENVOY: Final = Gateway("envoy", _told_by_request_line)
HAPROXY: Final = Gateway("haproxy", _ORIGINAL)


def gateway_at(raw_path: bytes) -> Gateway | None:
    """Return whom the guard answers at a path of its own."""
    if raw_path.startswith(ENVOY_PREFIX + b"/"):
        return ENVOY
    return _AT.get(raw_path)


_AT: Final = {b"/nginx": NGINX, b"/traefik": TRAEFIK, b"/haproxy": HAPROXY}
