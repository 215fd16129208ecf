"""The pytest plugin: the fixture ``mint``. Nothing else is loaded until a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mintmark.testing.mint import Mint


@pytest.fixture
def mint() -> "Iterator[Mint]":
    """An issuer in memory, a fresh one for each test."""
    from mintmark.testing.mint import Mint  # noqa: PLC0415 - see above

    with Mint() as mint:
        yield mint
