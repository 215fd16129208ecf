"""What answers have in common, and looking into tokens."""

import base64
import json
from typing import Any

import httpx


def part(token: str, index: int) -> dict[str, Any]:
    """Return the header (0) or the payload (1) of a JWT, unverified."""
    text = token.split(".")[index]
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return content


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified."""
    return part(token, 1)


def assert_not_stored(response: httpx.Response) -> None:
    """The answer is JSON that no cache may keep (RFC 6749 §5.1)."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"


def assert_error(response: httpx.Response, error: str, status: int = 400) -> None:
    """The answer is an RFC 6749 §5.2 error."""
    assert response.status_code == status, response.text
    assert_not_stored(response)
    body = response.json()
    assert set(body) == {"error", "error_description"}, body
    assert body["error"] == error, body
    assert body["error_description"].isascii()


def assert_tokens(response: httpx.Response) -> dict[str, Any]:
    """The answer is a token response (RFC 6749 §5.1)."""
    assert response.status_code == 200, response.text
    assert_not_stored(response)
    body: dict[str, Any] = response.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] > 0
    assert body["access_token"]
    return body
