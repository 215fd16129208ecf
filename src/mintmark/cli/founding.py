"""What ``mintmark init`` makes: three files, the first administrator and the first client."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mintmark.authority import people, registration, resources
from mintmark.authority.core import Authority
from mintmark.authority.model import Client, Resource, Role
from mintmark.cli.client_options import defaults_of
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    from mintmark.config import Settings

SETTINGS_FILE: Final = "mintmark.toml"
KEY_FILE: Final = "mintmark.key"
DATABASE: Final = "mintmark.sqlite3"
_DATABASE_FILES: Final = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")
ADMIN_ROLE: Final = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """What there is now. The secret is shown once."""

    subject: str
    client: Client
    client_secret: str | None = field(repr=False)


def admin_api_of(issuer: str) -> str:
    """Return the resource at which the role ``admin`` counts."""
    return f"{issuer}/api/v2/admin"


def refuse_what_exists(folder: Path) -> None:
    """Make sure that nothing is overwritten.

    Raises:
        Refusal: Names everything that is there already.
    """
    found = [name for name in (SETTINGS_FILE, KEY_FILE, *_DATABASE_FILES) if os.path.lexists(folder / name)]
    if found:
        raise Refusal(
            f"{folder} has {', '.join(found)} already, and nothing is ever overwritten. "
            "Use another folder (--dir), or move them away first."
        )


def write_files(folder: Path, settings_text: str, master_key: bytes) -> None:
    """Write the settings and the master key, which nobody but its owner can read.

    Raises:
        Refusal: They cannot be written; nothing is left behind.
    """
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text, mode in ((KEY_FILE, master_key.hex() + "\n", 0o600), (SETTINGS_FILE, settings_text, 0o644)):
            _write_new(folder / name, text, mode=mode)
            made.append(folder / name)
    except OSError as error:
        for path in made:  # and nothing else: what somebody made in the meantime is not ours to remove
            path.unlink()
        raise Refusal(
            f"cannot write {error.filename or folder}: {error.strerror}; use another folder (--dir)"
        ) from error


def _write_new(path: Path, text: str, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode) if hasattr(os, "fchmod") else None
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def remove_files(folder: Path) -> None:
    """Take back what was made before something failed."""
    for name in (SETTINGS_FILE, KEY_FILE, *_DATABASE_FILES):
        with contextlib.suppress(OSError):
            (folder / name).unlink()


async def require_good_password(settings: "Settings", email: str, password: str) -> None:
    """Check the administrator's password before anything is written.

    Raises:
        UnacceptableError: With what to do instead.
    """
    from mintmark.authority.wrapping import MasterKeys
    from mintmark.bootstrap import assemble
    from mintmark.cli.opening import real_world
    from mintmark.storage.memory import MemoryStore

    master_keys = MasterKeys(settings.required_master_key())
    authority = assemble(settings.policy(), MemoryStore(), master_keys, real_world())
    await people.require_good_password(authority, password, email=email, name="")


async def found(
    authority: Authority, *, email: str, password: str, client_id: str, redirect_uris: tuple[str, ...]
) -> Founded:
    """Register the administrator, with the role for it, and one client.

    Raises:
        UnacceptableError: With what to do instead.
    """
    resource = admin_api_of(authority.policy.issuer)
    await resources.create_resource(
        authority,
        Resource(resource=resource, name="mintmark administration", scopes=("admin",), permissions=("admin",)),
    )
    await resources.create_role(authority, Role(name=ADMIN_ROLE, resource=resource, permissions=("admin",)))
    user = await people.create_user(authority, email=email, password=password, roles=(ADMIN_ROLE,))
    kind = defaults_of(None, redirect_uris)
    scope = ("openid", "profile", "email", "offline_access") if redirect_uris else ()
    client, secret = await registration.create_client(
        authority,
        Client(client_id=client_id, name=client_id, redirect_uris=redirect_uris, scope=scope, **kind),
    )
    return Founded(subject=user.subject, client=client, client_secret=secret)
