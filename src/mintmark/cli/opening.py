"""From the settings to an authority that a command can ask, and what can go wrong on the way."""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec

from mintmark.authority.core import Authority
from mintmark.authority.people import UnacceptableError
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.wrapping import MasterKeyError
from mintmark.cli.parameters import chosen_config, config_option
from mintmark.cli.refusal import Misconfigured, Refusal
from mintmark.oauth.errors import OAuthError
from mintmark.storage.schema import UnknownSchemaError

if TYPE_CHECKING:
    from mintmark.bootstrap import World
    from mintmark.config import Settings

P = ParamSpec("P")

MEMORY: Final = "memory:"
SETTINGS_FILE: Final = "mintmark.toml"
RESTORE_DATABASE: Final = (
    "restore it from a backup; to start over, move mintmark.toml and the key file away and run `mintmark init`"
)
_REQUIRED: Final = ": is required"
_CHECK_FILE: Final = (
    "Check that the path is right, that this user may write it and its folder, and that the disk has room; "
    "`mintmark doctor` says more."
)
_CHECK_SERVER: Final = (
    "If that does not say it: check that the server runs and can be reached from here, and that the user named in "
    "`database` may use it with `database_password`."
)


def load_settings(*, needs_key: bool = True) -> "Settings":
    """Read the settings that ``--config``, the environment and ``./mintmark.toml`` give.

    Args:
        needs_key: Whether the command needs the master key.

    Raises:
        Misconfigured: With everything that is wrong.
    """
    from mintmark.config import MASTER_KEYS, ConfigError, load

    try:
        settings = load(config_file=chosen_config(), unread=() if needs_key else MASTER_KEYS)
        if needs_key:
            settings.required_master_key()
    except ConfigError as error:
        raise Misconfigured(without_noise(error.problems)) from error
    return settings


def without_noise(problems: Sequence[str]) -> list[str]:
    """Say the one thing that is wrong where there is no settings file, instead of all that it would have set."""
    variables = [name for name in os.environ if name.startswith("MINTMARK_")]
    if chosen_config() is not None or "MINTMARK_CONFIG" in variables or Path(SETTINGS_FILE).exists():
        return list(problems)
    if not any(_REQUIRED in problem for problem in problems):
        return list(problems)
    advice = "go to the folder of `mintmark init`, run it, or give --config FILE"
    missing = f"there is no {SETTINGS_FILE} in {Path.cwd()}; {advice}"
    # Whoever sets variables may want no file: what is missing is said as well.
    return [missing, *(problem for problem in problems if variables or _REQUIRED not in problem)]


def real_world() -> "World":
    """Return the machine's clock and randomness; tests replace this."""
    from mintmark.bootstrap import real_world as world

    return world()


@contextlib.asynccontextmanager
async def opened(settings: "Settings") -> AsyncIterator[Authority]:
    """Start an authority on the database that ``settings`` name.

    Raises:
        Refusal: The database or the master key does not let us.
    """
    from mintmark.bootstrap import running

    with explained(settings):
        async with running(settings, real_world()) as authority:
            yield authority


@contextlib.asynccontextmanager
async def attached(settings: "Settings") -> AsyncIterator[Authority]:
    """Put an authority on the database that ``settings`` name without starting it: nothing is made, nothing changed.

    A started one follows the key schedule; a command that only looks must not, with settings that may not be those
    of the nodes that serve.

    Raises:
        Refusal: The database does not let us.
    """
    from mintmark.authority.wrapping import MasterKeys
    from mintmark.bootstrap import assemble, open_store

    world = real_world()
    with explained(settings):
        store = await open_store(settings, world.clock)
        try:
            previous = tuple(key.get_secret_value() for key in settings.previous_master_keys)
            master_keys = MasterKeys(settings.required_master_key(), previous)
            yield assemble(settings.policy(), store, master_keys, world)
        finally:
            await store.close()


def require_database(settings: "Settings") -> None:
    """Refuse to make an empty database where somebody expects to find one.

    Raises:
        Refusal: There is none.
    """
    if settings.database == MEMORY:
        raise Refusal(
            "the database is `memory:`, which only the serving process can see; set `database` to the path of a file, "
            "or to postgresql://…"
        )
    if settings.database_file is not None and not settings.database_file.exists():
        raise Refusal(
            f"there is no database at {settings.database}; {RESTORE_DATABASE}; `mintmark --config FILE …` looks elsewhere"
        )


@contextlib.contextmanager
def explained(settings: "Settings") -> Iterator[None]:
    """Say what to do about the failures that any command may meet.

    Raises:
        Refusal: Instead of them.
    """
    from mintmark.config import ConfigError

    try:
        yield
    except ConfigError as error:
        raise Misconfigured(error.problems) from error
    except UnacceptableError as error:
        raise Refusal(str(error)) from error
    except UnknownSchemaError as error:
        raise Refusal(f"the database {settings.database} cannot be used: {error}") from error
    except StoreUnavailableError as error:
        advice = _CHECK_SERVER if settings.database_file is None else _CHECK_FILE
        raise Refusal(f"the database {settings.database} cannot be used: {error}. {advice}") from error
    except MasterKeyError as error:
        raise Refusal(
            f"the master key is not the one that {settings.database} was written under: {error}. "
            "Check master_key_file in mintmark.toml, or restore the key from its backup."
        ) from error
    except OAuthError as error:
        raise Refusal(f"{error.description} ({error.error}{': ' + error.detail if error.detail else ''})") from error


def on_authority(command: Callable[Concatenate[Authority, P], Awaitable[None]]) -> Callable[P, None]:
    """Turn a coroutine on an authority into a command on the configured one."""

    @config_option
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from mintmark.cli import logs

        settings = load_settings()
        require_database(settings)
        logs.configure("warning", "console")

        async def work() -> None:
            async with attached(settings) as authority:
                await authority.catch_up()
                await command(authority, *args, **kwargs)

        asyncio.run(work())

    return run
