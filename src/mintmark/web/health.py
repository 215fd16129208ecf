"""Is the process up, and can it do its work?"""

from mintmark.asgi import Incoming, Reply
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.ports import StoreUnavailableError
from mintmark.web.rendering import json_reply


async def livez(_authority: Authority, _incoming: Incoming) -> Reply:
    """Return 200 while the process answers at all."""
    return json_reply({"status": "up"})


async def readyz(authority: Authority, _incoming: Incoming) -> Reply:
    """Return 200 if the database answers and every algorithm has a key that signs, else 503 with what is missing."""
    problems = []
    try:
        await authority.store.check()
    except StoreUnavailableError:
        problems.append("database")
    now = authority.clock.now()
    problems += [
        f"no active {alg} key"
        for alg in authority.policy.signing_algorithms
        if schedule.active(authority.keyring.rows, alg, now) is None
    ]
    if problems:
        return json_reply({"status": "not ready", "missing": problems}, status=503)
    return json_reply({"status": "ready"})
