"""Settings in, a running authority out."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence

from mintmark.asgi import ASGIApp, Receive, Scope, Send
from mintmark.authority.core import Authority
from mintmark.authority.denylist import Denylist
from mintmark.authority.keyring import Keyring
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Store
from mintmark.authority.wrapping import MasterKeys
from mintmark.bootstrap.opening import open_store
from mintmark.bootstrap.sharing import Sharing, alone, sharing
from mintmark.bootstrap.world import World, real_world
from mintmark.config import Settings
from mintmark.pages.routes import page_routes, unknown_page
from mintmark.storage.remembered import RememberingStore
from mintmark.system.passwords import Argon2Passwords
from mintmark.system.signing import PoolSigner
from mintmark.web.forwarded import behind_proxies
from mintmark.web.routes import UNKNOWN_BELOW, unknown_endpoint, web_routes
from mintmark.web.streaming import Feed


def assemble(
    policy: Policy,
    store: Store,
    master_keys: MasterKeys,
    world: World,
    *,
    shares: Sharing | None = None,
    signing_threads: int = 2,
    password_threads: int = 2,
) -> Authority:
    """Put an authority together; ``start`` it before use.

    Without ``shares`` it is alone.
    """
    shares = shares or alone(world.clock)
    return Authority(
        policy=policy,
        store=store,
        clock=world.clock,
        randomness=world.randomness,
        signer=PoolSigner(signing_threads),
        passwords=Argon2Passwords(password_threads, is_cheap=world.has_cheap_passwords),
        limiter=shares.limiter,
        replays=shares.replays,
        keyring=Keyring(policy, master_keys, world.randomness),
        denylist=Denylist(),
        stream=shares.stream,
        shared=shares.shared,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, world: World | None = None) -> AsyncIterator[Authority]:
    """Open the store that ``settings`` name and start an authority on it; close it afterwards.

    Raises:
        StoreUnavailableError: See ``open_store``.
        ConfigError: There is no master key, or a package is missing.
        MasterKeyError: The stored keys were written under another master key.
    """
    world = world or real_world()
    async with sharing(settings, world.clock) as shares:
        store = await open_store(settings, world.clock)
        try:
            previous = tuple(key.get_secret_value() for key in settings.previous_master_keys)
            authority = assemble(
                settings.policy(),
                RememberingStore(store, world.clock),
                MasterKeys(settings.required_master_key(), previous),
                world,
                shares=shares,
                signing_threads=settings.signing_threads,
                password_threads=settings.password_threads,
            )
            await authority.start()
            yield authority
        finally:
            await store.close()


def application(authority: Authority, feed: Feed | None = None, *, trusted_proxies: Sequence[str] = ()) -> ASGIApp:
    """Return the ASGI application of a started authority: the JSON edge, the HTML edge, and answers for the rest.

    Args:
        authority: Started.
        feed: To close when the server stops, so that the streams end.
        trusted_proxies: Addresses or networks whose word on the client's address is taken.
    """
    routes = web_routes(authority, feed or Feed(authority)) | page_routes(authority)
    unknown_json, unknown_html = unknown_endpoint(authority), unknown_page(authority)

    def route(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"]
        answers = routes.get(path) or (unknown_json if path.startswith(UNKNOWN_BELOW) else unknown_html)
        return answers(scope, receive, send)

    return behind_proxies(route, trusted_proxies)
