"""An issuer in memory for the tests of services: real tokens, real revocation, no network, no thread.

from mintmark.testing import Mint

mint = Mint()
verifier = mint.verifier()
verifier.verify(mint.token(scope="orders:read")).require(scope="orders:read")

With pytest the fixture ``mint`` is there by itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mintmark.testing.mint import Mint

__all__ = ["Mint"]


def __getattr__(name: str) -> Any:
    # pytest imports this package in every run, for the sake of the plugin: nothing may be loaded before it is used.
    if name == "Mint":
        from mintmark.testing.mint import Mint  # noqa: PLC0415

        return Mint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
