"""Tokens of a real authority, for and by its client ``service``."""

import http.client
import json
from urllib.parse import urlencode, urlsplit

from tests.support.installation import PREFIX
from tests.support.serving import Served


def obtain(authority: Served) -> str:
    """Return a new access token for the API."""
    answer = _post(authority, "/token", grant_type="client_credentials", scope="orders:read")
    token: str = json.loads(answer)["access_token"]
    return token


def revoke(authority: Served, token: str) -> None:
    """Revoke an access token; the authority has answered then."""
    _post(authority, "/revoke", token=token)


def _post(authority: Served, path: str, **form: str) -> bytes:
    form |= {"client_id": "service", "client_secret": authority.secrets["service"]}
    connection = http.client.HTTPConnection(urlsplit(authority.issuer).netloc, timeout=30)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", PREFIX + path, urlencode(form), headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    assert response.status == 200, body
    return body
