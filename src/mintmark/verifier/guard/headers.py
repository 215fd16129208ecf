"""Who sent a request, as headers for the service behind the gateway.

All are there in every answer that lets a request pass, empty where there is nothing to say: what is not there, the
gateway could not overwrite, and a forged one would reach the service.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from mintmark.verifier.token import Token

Headers = tuple[tuple[bytes, bytes], ...]

# Printable ASCII but "%" and the space, which separates names.
_PLAIN: Final = re.compile(r"[!-$&-~]*")
_SAFE: Final = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")

# Services are told of headers in many ways; most take any character but letters and digits for "_".
_ALIKE: Final = re.compile(rb"x[^a-z0-9]mintmark[^a-z0-9]")
_OURS: Final = b"x-mintmark-"


def identity(token: Token | None) -> Headers:
    """Return the headers that say whose ``token`` it is; without one, they are empty.

    Values are printable ASCII: other characters, spaces and ``%`` are percent-encoded as UTF-8, so that neither a line
    break nor a role with a space in its name makes two of one. Names are separated by single spaces, sorted.
    """
    if token is None:
        return NOBODY
    return (
        (b"x-mintmark-subject", _escaped(token.sub)),
        (b"x-mintmark-client", _escaped(token.client_id)),
        (b"x-mintmark-scope", _listed(token.scopes)),
        (b"x-mintmark-roles", _listed(token.roles)),
        (b"x-mintmark-permissions", _listed(token.permissions)),
        (b"x-mintmark-issuer", _escaped(token.issuer)),
    )


NOBODY: Final[Headers] = tuple(
    (_OURS + name, b"") for name in (b"subject", b"client", b"scope", b"roles", b"permissions", b"issuer")
)
"""Of a request that needs no token."""


def is_counterfeit(name: bytes) -> bool:
    """Tell whether a header (name in lower case) is none of ours, but a service could take it for one."""
    return b"mintmark" in name and not name.startswith(_OURS) and _ALIKE.match(name) is not None


def _escaped(text: str) -> bytes:
    if _PLAIN.fullmatch(text):
        return text.encode("ascii")
    # JSON can spell a lone surrogate; strict UTF-8 cannot.
    return quote(text, safe=_SAFE, errors="surrogatepass").encode("ascii")


def _listed(names: Iterable[str]) -> bytes:
    return b" ".join(_escaped(name) for name in sorted(names) if name)
