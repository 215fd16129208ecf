"""What a resource server says of itself, so that clients find out where its tokens come from (RFC 9728)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

_WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """The metadata of one protected resource (RFC 9728 §2).

    Attributes:
        resource: Its identifier: a URL, and the audience of its tokens.
        authorization_servers: Issuers whose tokens it accepts.
        scopes_supported: Scopes that its routes ask for.
        resource_name: What it is called, for people to read.

    Raises:
        ValueError: ``resource`` is no https URL (http on loopback), or has a query or a fragment.
    """

    resource: str
    authorization_servers: Sequence[str]
    scopes_supported: Sequence[str] = ()
    resource_name: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.resource)
        is_local = parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if (
            not (parts.scheme == "https" or is_local)
            or not parts.netloc
            or "?" in self.resource
            or "#" in self.resource
        ):
            raise ValueError("resource is an https URL without query and fragment")

    @property
    def path(self) -> str:
        """Where the document is served: the path of ``url``."""
        return _WELL_KNOWN + urlsplit(self.resource).path.removesuffix("/")

    @property
    def url(self) -> str:
        """Where the document is found; the ``resource_metadata`` of a challenge (RFC 9728 §3.1, §5.1)."""
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}{self.path}"

    def document(self) -> dict[str, Any]:
        """Return the document."""
        members = {
            "resource": self.resource,
            "authorization_servers": list(self.authorization_servers),
            "scopes_supported": list(self.scopes_supported),
            "bearer_methods_supported": ["header"],
            "resource_name": self.resource_name,
        }
        # RFC 9728 §3.2: what has no value is left out.
        return {name: value for name, value in members.items() if value}

    def encode(self) -> bytes:
        """Return the document as JSON."""
        return msgspec.json.encode(self.document())
