"""The issuer of the tests of services, and a guard that trusts it."""

from pathlib import Path

import pytest
from tests.unit.verifier.guard.asking import Asker, table

from mintmark.testing import Mint
from mintmark.testing.plugin import mint
from mintmark.verifier.guard import Guard

__all__ = ["mint"]

ROUTES = """
[[route]]
path = "/health"
methods = ["GET"]
public = true

[[route]]
path = "/orders"
methods = ["GET"]
scope = "orders:read"

[[route]]
path = "/orders"
methods = ["POST"]
scope = ["orders:write"]

[[route]]
path = "/orders/all"
role = ["order admin"]
permission = "orders:list"

[[route]]
path = "/me"

[[route]]
path = "/money"
acr = "phr"
max_age = 60

[[route]]
path = "/fresh"
on_stale = "deny"
"""


@pytest.fixture
def asker(mint: Mint, tmp_path: Path) -> Asker:
    """Return a way to ask a guard as each gateway does."""
    return Asker(Guard(mint.verifier(introspect="always"), table(tmp_path, ROUTES)))
