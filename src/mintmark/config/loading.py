"""Read the sources, strongest first: environment, ``mintmark.toml``, defaults. Everything wrong is reported at once.

Values are never repeated in a problem, except whole numbers: what was put into the wrong place may be a secret.
"""

import os
import re
import stat
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from mintmark.config.keys import BY_ENVIRONMENT, IN_TOML, KEYS, SECRETS
from mintmark.config.settings import PREFIX, ConfigError, Settings

DEFAULT_FILE: Final = Path("mintmark.toml")
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"

_LARGEST_SECRET_FILE: Final = 65536
# What Kubernetes sets in every pod for a Service named mintmark or mintmark-…
_SERVICE_LINK: Final = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(?:TCP|UDP|SCTP)\w*)", re.ASCII
)
_NOT_A_NUMBER: Final = frozenset({"int_type", "int_parsing", "int_parsing_size", "int_from_float", "finite_number"})
_OUT_OF_BOUNDS: Final = frozenset({"greater_than_equal", "less_than_equal"})


@dataclass(slots=True)
class _Reading:
    """What has been found so far.

    Attributes:
        problems: For ``ConfigError``.
        written: How the user wrote each key that was given, by the name of the setting.
        relative_to: Folder of ``mintmark.toml``, which paths inside start from.
        is_whole: The file could be read, so that a key that is missing is really missing.
        unread: Secrets whose files are left alone.
    """

    problems: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    relative_to: Path = Path()
    is_whole: bool = True
    unread: Collection[str] = ()


def load(
    *, config_file: Path | None = None, environ: Mapping[str, str] | None = None, unread: Collection[str] = ()
) -> Settings:
    """Read and check the settings.

    Args:
        config_file: Instead of ``MINTMARK_CONFIG`` or ``./mintmark.toml``; must exist.
        environ: Instead of the environment of this process.
        unread: Secrets that are not needed: the files named for them need not be there.

    Raises:
        ConfigError: With everything that is wrong.
    """
    environ = os.environ if environ is None else environ
    reading = _Reading(unread=unread)
    from_environment = _from_environment(environ, reading)
    in_environment = set(reading.written)
    from_toml = _from_toml(_find(config_file, environ), reading, in_environment)
    settings: Settings | None = None
    try:
        settings = Settings(**_merged(from_toml, from_environment))
    except ValidationError as error:
        reading.problems += _explain(error, reading)
    if settings is None or reading.problems:  # raised out here, where no context leads to the values
        raise ConfigError(reading.problems)
    if "database" in in_environment or "database" not in reading.written or settings.database_file is None:
        return settings
    return settings.model_copy(update={"database": str(reading.relative_to / settings.database_file)})


def _find(config_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config_file is not None:
        return config_file
    if CONFIG_VARIABLE in environ:
        return Path(environ[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    both = {**weak, **strong}
    for name in weak.keys() & strong.keys():
        if isinstance(weak[name], Mapping) and isinstance(strong[name], Mapping):
            both[name] = _merged(weak[name], strong[name])
    return both


def _from_environment(environ: Mapping[str, str], reading: _Reading) -> dict[str, Any]:
    known: dict[str, str | None] = {}
    files: dict[str, str] = {}
    for variable, value in environ.items():
        key = BY_ENVIRONMENT.get(variable)
        if not variable.upper().startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if _SERVICE_LINK.fullmatch(variable) or (variable.endswith("_PORT") and "://" in value):
            reading.problems.append(
                f"{variable}: set by Kubernetes for a Service; put `enableServiceLinks: false` into the pod's spec"
            )
        elif key is None:
            reading.problems.append(_unknown_variable(variable))
        elif (secret := key.name.removesuffix("_file")) in SECRETS and secret != key.name:
            files[secret] = variable
        else:
            reading.written[key.name] = variable
            known[variable.lower()] = value
    source = EnvSettingsSource(Settings)
    source.env_vars = known
    values = source()
    for secret, variable in files.items():
        if secret in reading.written:
            reading.problems.append(f"{variable}: give either it or {reading.written[secret]}, not both")
        else:
            _read_secret(secret, variable, Path(environ[variable]), reading, values)
    return values


def _from_toml(file: Path | None, reading: _Reading, stronger: set[str]) -> dict[str, Any]:
    if file is None:
        return {}
    reading.relative_to = file.absolute().parent
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reading.problems.append(f"{file}: cannot be read: {error.strerror}; correct --config or {CONFIG_VARIABLE}")
        reading.is_whole = False
        return {}
    except ValueError as error:
        reading.problems.append(f"{file}: is not TOML: {error}")
        reading.is_whole = False
        return {}
    values = _known_in(table, "", file, reading, stronger)
    for secret in SECRETS:
        path = values.pop(f"{secret}_file", None)
        if path is None or secret in stronger:
            continue
        written = f"{secret}_file in {file}"
        if isinstance(path, str):
            _read_secret(secret, written, reading.relative_to / path, reading, values)
        else:
            reading.problems.append(f"{written}: must be the path of a file")
    return values


def _known_in(
    table: Mapping[str, Any], above: str, file: Path, reading: _Reading, stronger: set[str]
) -> dict[str, Any]:
    """Return what of ``table`` can be set, and report the rest."""
    known: dict[str, Any] = {}
    for part, value in table.items():
        name = above + part
        below = next((key for key in sorted(IN_TOML) if key.startswith(f"{name}.")), None)
        if "." in part:  # a quoted key; it would pass for a path
            reading.problems.append(f'"{name}" in {file}: there is no such setting; write a dotted key without quotes')
        elif below is not None and isinstance(value, Mapping):
            known[part] = _known_in(value, f"{name}.", file, reading, stronger)
        elif below is not None:
            reading.problems.append(f"{name} in {file}: must be a table, with keys such as {below}")
        elif name in SECRETS:
            reading.problems.append(
                f"{name} in {file}: a secret must not stand in this file; write it into a file of its own, "
                f"readable by you alone, and name that in {name}_file"
            )
        elif name in IN_TOML:
            known[part] = value
            if name not in stronger:
                reading.written[name] = f"{name} in {file}"
        else:
            reading.problems.append(_unknown(f"{name} in {file}", name, IN_TOML))
    return known


def _unknown_variable(variable: str) -> str:
    # Without the prefix, which makes everything look alike.
    known = [key.removeprefix(PREFIX) for key in (*BY_ENVIRONMENT, CONFIG_VARIABLE)]
    return _unknown(variable, variable[len(PREFIX) :].upper(), known, PREFIX)


def _unknown(written: str, name: str, known: Iterable[str], prefix: str = "") -> str:
    nearest = get_close_matches(name, sorted(known), n=1)
    advice = f"did you mean {prefix}{nearest[0]}?" if nearest else "remove it (docs/configuration.md lists all)"
    return f"{written}: there is no such setting; {advice}"


def _read_secret(name: str, written: str, path: Path, reading: _Reading, values: dict[str, Any]) -> None:
    """Put the content of ``path`` into ``values`` and ``reading``, or say why it cannot be used."""
    reading.written[name] = f"{written} ({path})"
    if name in reading.unread:
        return
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LARGEST_SECRET_FILE + 1)
        if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
            problem = f"everybody on this machine can read or change it: chmod 600 {path}"
        elif len(content) > _LARGEST_SECRET_FILE:
            problem = "is too large to be a secret: name the right file"
        else:
            values[name] = content.decode().rstrip("\r\n")
            return
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ValueError:  # not UTF-8, or a path with NUL
        problem = "must be a text file that holds the key in base64url or hexadecimal"
    reading.problems.append(f"{reading.written[name]}: {problem}")


def _explain(error: ValidationError, reading: _Reading) -> Iterator[str]:
    """Say each problem in the words of whoever wrote the settings."""
    for details in error.errors(include_url=False):
        where = ".".join(map(str, details["loc"]))
        name = next((key for key in KEYS if where == key or where.startswith(f"{key}.")), where)
        if name in reading.written:
            yield f"{reading.written[name]}: {_advice(name, details)}"
        elif reading.is_whole:
            variable = KEYS[name].environment if name in KEYS else name
            yield f"{variable} (or {name} in mintmark.toml), not set: {_advice(name, details)}"


def _advice(name: str, details: ErrorDetails) -> str:
    bounds = KEYS[name].bounds if name in KEYS else ""
    if details["type"] == "missing":
        return f"is required ({bounds})"
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    if details["type"] in _NOT_A_NUMBER:
        return f"must be a whole number, {bounds}"
    if details["type"] in _OUT_OF_BOUNDS:
        return f"must be {bounds}, not {details['input']}"
    if details["type"] == "string_type":
        return f"must be text: {bounds}"
    return f"must be {bounds}"
