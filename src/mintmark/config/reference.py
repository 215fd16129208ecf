"""Texts made from the model: ``docs/configuration.md`` and the file that ``mintmark init`` writes."""

import json
from typing import Final

from mintmark.config.keys import KEYS, Key

_HEAD: Final = """\
# Configuration

<!-- Made by `python -m mintmark.config > docs/configuration.md` from src/mintmark/config/settings.py; do not edit. -->

Settings are read once, when a process starts. If anything is wrong, it does not start, and it names everything that is
wrong at once; so does a key that does not exist, in the file or as `MINTMARK_…` in the environment.

Sources, strongest first:

1. the environment;
2. `mintmark.toml`: the file given by `--config`, else by `MINTMARK_CONFIG`, else `./mintmark.toml` if there is one.
   Relative paths in it start from its own folder; relative paths elsewhere, and defaults, from the working directory;
3. the defaults.

A dot in a key is a table in TOML and `__` in the environment: `lifetimes.public.refresh_grace` is `refresh_grace` under
`[lifetimes.public]`, and `MINTMARK_LIFETIMES__PUBLIC__REFRESH_GRACE`. Lists are arrays in TOML and comma separated in the
environment. Every time is in seconds.

Secrets do not stand in `mintmark.toml`. Put each into a file of its own, which not everybody on the machine can read or
change, and name that file in `…_file` (a newline at its end does not count). A variable holds the secret itself, or with
`_FILE` the name of the file, not both. In Kubernetes mount the secret with `defaultMode: 0400`, or 0440 with `fsGroup`,
and set `enableServiceLinks: false` if a Service is called `mintmark`; for Docker secrets set `mode: 0400`.

| key | environment | default | bounds | what |
|---|---|---|---|---|
"""

_COMMON: Final = (
    "signing_algorithms",
    "key_rotation_interval",
    "session_lifetime",
    "session_idle_lifetime",
    "password_threads",
    "log_level",
    "log_format",
)


def reference() -> str:
    """Return ``docs/configuration.md``."""
    return _HEAD + "".join(f"{_row(key)}\n" for key in KEYS.values())


def _row(key: Key) -> str:
    name = "not in the file" if key.secret else f"`{key.name}`"
    default = "required" if key.required else f"`{key.default}`" if key.default else "none"
    return f"| {name} | `{key.environment}` | {default} | {key.bounds} | {key.what} |"


def example_toml(
    *,
    issuer: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    database: str = "mintmark.sqlite3",
    master_key_file: str = "mintmark.key",
) -> str:
    """Return the ``mintmark.toml`` that ``mintmark init`` writes: what is set, and what people often set."""
    given = {"issuer": issuer, "host": host, "port": port, "database": database, "master_key_file": master_key_file}
    # A JSON string is a TOML basic string, as long as it is not escaped to surrogate pairs.
    lines = [
        f"# {KEYS[name].what}\n{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in given.items()
    ]
    lines += [f"# {KEYS[name].what} ({KEYS[name].bounds})\n# {name} = {KEYS[name].default}\n" for name in _COMMON]
    lines.append("# How long tokens live, by the security classification of the client\n# [lifetimes.confidential]\n")
    lines[-1] += "".join(
        f"# {name.rpartition('.')[2]} = {key.default}\n"
        for name, key in KEYS.items()
        if name.startswith("lifetimes.confidential.")
    )
    return "# Settings of mintmark; docs/configuration.md lists all. Every time is in seconds.\n\n" + "\n".join(lines)
