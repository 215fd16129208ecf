"""The one stylesheet. Its URL names its content, so browsers may keep it for ever and never show an old one."""

import hashlib
from importlib.resources import files
from typing import Final

from mintmark.asgi import Headers, Incoming, Reply
from mintmark.authority.core import Authority

_CONTENT: Final = files("mintmark.pages").joinpath("static", "mintmark.css").read_bytes()
_HEADERS: Final[Headers] = (
    (b"content-type", b"text/css; charset=utf-8"),
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

PATH: Final = f"/static/mintmark.{hashlib.sha256(_CONTENT).hexdigest()[:16]}.css"


async def stylesheet(_authority: Authority, _incoming: Incoming) -> Reply:
    """Return it."""
    return Reply(200, _CONTENT, _HEADERS)
