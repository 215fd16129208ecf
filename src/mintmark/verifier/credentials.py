"""How this service says who it is when it asks the authority something."""

from base64 import b64encode
from urllib.parse import quote_plus


def basic_authorization(client_id: str, client_secret: str) -> str:
    """Return the value of an ``Authorization`` header; it holds the secret, so it belongs in no log and no error.

    RFC 6749 §2.3.1: both parts are form-encoded first, so that a colon in either does no harm.
    """
    return "Basic " + b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode("ascii")).decode("ascii")
