"""The keys of a node as time and the schedule go on."""

from dataclasses import replace

import pytest
from tests.support.installation import Installation

from mintmark.authority import keys as schedule
from mintmark.authority.keyring import retire_emergency


@pytest.mark.spec("invariant I7")
async def test_a_key_retired_in_an_emergency_verifies_nothing_from_the_same_second_on(mint: Installation) -> None:
    keyring, now = mint.authority.keyring, mint.clock.now()
    active = schedule.active(keyring.rows, "RS256", now)
    assert active is not None
    assert active.kid in keyring.verification_keys(now)
    assert await retire_emergency(keyring, mint.authority.store, mint.clock, active.kid) is not None
    assert active.kid not in keyring.verification_keys(now)
    assert len(keyring.verification_keys(now)) > 0


async def test_a_key_verifies_until_it_is_removed_whichever_way_the_clock_goes(mint: Installation) -> None:
    keyring, now = mint.authority.keyring, mint.clock.now()
    first = keyring.rows[0]
    keyring.rows = (replace(first, retired_at=now + 10, removed_at=now + 20), *keyring.rows[1:])
    known = [first.kid in keyring.verification_keys(now + seconds) for seconds in (19, 20, 19, 21)]
    assert known == [True, False, True, False]
