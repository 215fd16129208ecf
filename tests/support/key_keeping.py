"""A keeper of keys with the authority that it asks, and the time both live in."""

import random
from typing import Any

from tests.support.verifying import ISSUER, FakeClock, ScriptedTransport, json_response, jwks_response, metadata_of

from mintmark.jose import jwk
from mintmark.jose.jwk import Key
from mintmark.verifier.keys import KeyKeeper
from mintmark.verifier.ports import TransportError

METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
JWKS = f"{ISSUER}/jwks"
DAY = 86_400

ONE = jwk.generate("ES256", kid="one")
TWO = jwk.generate("EdDSA", kid="two")
THREE = jwk.generate("ES256", kid="three")
DOWN = TransportError("no answer in time")


class World:
    """A keeper, the authority it asks, and the time both live in."""

    def __init__(self, *keys: Key, issuer: str = ISSUER) -> None:
        self.clock = FakeClock()
        self.changes = 0
        self.transport = ScriptedTransport({METADATA: json_response(metadata_of())})
        self.publish(*(keys or (ONE,)))
        self.keeper = KeyKeeper(
            issuer, self.transport, self.clock, on_change=self._changed, randomness=random.Random(1)
        )

    def publish(self, *keys: Key, **headers: str) -> None:
        self.transport.answers[JWKS] = jwks_response(*keys, **headers)

    def publish_raw(self, *entries: dict[str, Any]) -> None:
        self.transport.answers[JWKS] = json_response({"keys": list(entries)})

    def kids(self) -> set[str]:
        keys = self.keeper.keys
        assert keys is not None
        return set(keys)

    def fetches(self) -> int:
        return self.transport.count(JWKS)

    def _changed(self) -> None:
        self.changes += 1

    @classmethod
    def ready(cls) -> "World":
        """One whose keys were fetched, so long ago that an unknown kid may ask again."""
        world = cls()
        assert world.keeper.refresh()
        world.clock.advance(5)
        return world
