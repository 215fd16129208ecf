"""What may be set: names, defaults, bounds, and the rules between them. Every time is in seconds.

Defaults that the authority has of its own come from ``authority.policy``; nothing here reads a file or a variable.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretBytes,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mintmark.authority.policy import BOUNDS, DAY, LIFETIMES, Classification, Lifetimes, Policy, problems_of
from mintmark.config.hosts import host_problem
from mintmark.config.postgresql import SCHEME as POSTGRESQL
from mintmark.config.postgresql import postgresql_problem
from mintmark.config.proxies import proxy_problem
from mintmark.config.redis import redis_database, redis_problem

SigningAlgorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]

PREFIX: Final = "MINTMARK_"
MASTER_KEY_BYTES: Final = 32
MEMORY: Final = "memory:"

_POLICY: Final = Policy(issuer="https://issuer.invalid")
_WIDEST: Final = Lifetimes(
    access_token_lifetime=BOUNDS["access_token_lifetime"][1],
    refresh_token_lifetime=BOUNDS["refresh_token_lifetime"][1],
    refresh_idle_lifetime=BOUNDS["refresh_idle_lifetime"][0],
    refresh_grace=BOUNDS["refresh_grace"][0],
)
_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_SCHEME: Final = re.compile(r":|[A-Za-z][A-Za-z0-9+.-]+:")  # one letter and a colon is a drive
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{43}=?", re.ASCII)


class ConfigError(Exception):
    """The settings are not usable.

    Attributes:
        problems: One line each: the key as it was written, and what to do. Never the value of a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(
    default: Any, what: str, bounds: str, *, secret: bool = False, ge: int | None = None, le: int | None = None
) -> Any:
    extra: JsonDict = {"bounds": bounds, "secret": secret}
    return Field(default, description=what, json_schema_extra=extra, ge=ge, le=le)


def _number(default: int, low: int, high: int, what: str) -> Any:
    return _setting(default, what, f"{low} to {high}", ge=low, le=high)


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # int() takes True for 1
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _words(value: Any) -> Any:
    """Split text at commas and line ends; a list stays as it is."""
    return [word.strip() for word in re.split(r"[,\n]", value) if word.strip()] if isinstance(value, str) else value


def _master_key(value: Any) -> Any:
    """Decode 32 bytes from base64url (padding optional) or hexadecimal; the two differ in length."""
    if isinstance(value, SecretBytes):
        value = value.get_secret_value()
    if isinstance(value, str):
        if _HEXADECIMAL.fullmatch(value):
            return bytes.fromhex(value)
        if _BASE64URL.fullmatch(value):
            return base64.urlsafe_b64decode(value.rstrip("=") + "=")
    if not isinstance(value, bytes) or len(value) != MASTER_KEY_BYTES:
        raise ValueError(
            "must be 32 bytes in base64url (43 characters) or hexadecimal (64 characters): make it with `openssl rand -hex 32`"
        )
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_refuse_boolean)]
MasterKey = Annotated[SecretBytes, BeforeValidator(_master_key)]


class ClassificationLifetimes(BaseModel):
    """How long the tokens of the clients of one classification live; ``authority.policy`` knows the bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_token_lifetime: Whole = Field(description="Seconds an access token lives")
    refresh_token_lifetime: Whole = Field(
        description="Seconds from sign-in until the last refresh token of the grant dies, whatever happens"
    )
    refresh_idle_lifetime: Whole = Field(
        description="Seconds a refresh token may stay unused; at most `refresh_token_lifetime`"
    )
    refresh_grace: Whole = Field(
        description="Seconds in which a client that lost the response gets the same refresh token again; "
        "a public client without key binding is held to 60"
    )

    @field_validator("*")
    @classmethod
    def _within_bounds(cls, value: int, info: ValidationInfo) -> int:
        name = str(info.field_name)
        lifetimes = replace(_WIDEST, **{**info.data, name: value})  # so that each field answers for itself
        problems = [line.removeprefix(name).strip() for line in problems_of(lifetimes) if line.startswith(f"{name} ")]
        if problems:
            raise ValueError("; ".join(problems))
        return value

    def lifetimes(self) -> Lifetimes:
        """Return the authority's value."""
        return Lifetimes(**self.model_dump())


class Settings(BaseSettings):
    """Settings that were found to be sound. ``load()`` makes them; building one directly reads no environment."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
    )

    issuer: str = _setting(
        ..., "Issuer identifier: the public URL, byte for byte what clients compare", "https, or http on loopback"
    )
    host: str = _setting("127.0.0.1", "Address to listen on", "IP address or host name")
    port: Whole = _number(8080, 1, 65535, "Port to listen on")
    database: str = _setting(
        "mintmark.sqlite3",
        "SQLite file, or `postgresql://user@host:port/name` without a password; `memory:` forgets everything when the "
        "process ends",
        "path, `postgresql://…` or `memory:`",
    )
    database_password: SecretStr | None = _setting(None, "Password for PostgreSQL", "text", secret=True)
    database_connections: Whole = _number(
        10, 1, 200, "Connections to PostgreSQL that a process keeps at most, beside one that hears of revocations"
    )
    redis: str = _setting(
        "", "Redis or Valkey shared by all nodes; empty for none", "`redis://host:port/0` or `rediss://…`, no password"
    )
    redis_password: SecretStr | None = _setting(None, "Password for Redis", "text", secret=True)
    redis_cluster: bool = _setting(False, "Whether `redis` is a node of a Redis Cluster", "true or false")
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_words)] = _setting(
        (), "Proxies whose word on the client's address is taken", "addresses or networks, comma separated"
    )
    metrics_host: str = _setting("127.0.0.1", "Address on which metrics are served", "IP address or host name")
    metrics_port: Whole = _number(0, 0, 65535, "Port on which metrics are served; 0 for none")
    master_key: MasterKey | None = _setting(
        None, "Key that protects all other keys; `serve` needs it", "32 bytes, base64url or hexadecimal", secret=True
    )
    previous_master_keys: Annotated[tuple[MasterKey, ...], BeforeValidator(_words)] = _setting(
        (),
        "Earlier master keys, still able to open what they protected",
        "distinct, comma separated, each like `master_key`",
        secret=True,
    )
    lifetimes: dict[Classification, ClassificationLifetimes] = _setting({}, "Lifetimes by classification", "")
    code_lifetime: Whole = _number(_POLICY.code_lifetime, 1, 600, "Seconds an authorization code lives")
    jwks_lifetime: Whole = _number(_POLICY.jwks_lifetime, 1, DAY, "Seconds a fetched JWKS may be cached")
    key_rotation_interval: Whole = _setting(
        _POLICY.key_rotation_interval,
        "Seconds a key signs before the next one does",
        f"twice `jwks_lifetime` to {366 * DAY}",
    )
    signing_algorithms: Annotated[tuple[SigningAlgorithm, ...], BeforeValidator(_words)] = _setting(
        _POLICY.signing_algorithms,
        "Signature algorithms; a key is kept for each, the first is the default",
        "one or more of RS256, PS256, ES256, EdDSA",
    )
    session_lifetime: Whole = _number(
        _POLICY.session_lifetime, 60, 366 * DAY, "Seconds from sign-in until a browser session ends"
    )
    session_idle_lifetime: Whole = _setting(
        _POLICY.session_idle_lifetime, "Seconds a browser session may stay unused", "60 to `session_lifetime`"
    )
    id_token_lifetime: Whole = _number(_POLICY.id_token_lifetime, 60, DAY, "Seconds an ID token may be accepted")
    signing_threads: Whole = _number(
        2, 0, 32, "Threads that sign with RSA; 0 for none, which is best where each core has a process of its own"
    )
    password_threads: Whole = _number(
        2, 1, 16, "Threads that hash passwords; each running Argon2id hash takes about 64 MiB of memory"
    )
    cleanup_interval: Whole = _number(60, 1, DAY, "Seconds between two cleanups of what has expired")
    cleanup_batch: Whole = _number(1000, 1, 100_000, "Rows of each kind that go at a time")
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = _setting(
        "info", "Least severity that is logged", "one of debug, info, warning, error, critical"
    )
    log_format: Literal["console", "json"] = _setting(
        "console", "Log lines for people or for machines", "console or json"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed and nothing else: ``load()`` decides which environment counts."""
        return (init_settings,)

    @field_validator("issuer")
    @classmethod
    def _sound_issuer(cls, value: str) -> str:
        if problem := issuer_problem(value):
            raise ValueError(problem)
        return value

    @field_validator("host", "metrics_host")
    @classmethod
    def _sound_host(cls, value: str) -> str:
        if problem := host_problem(value):
            raise ValueError(problem)
        return value

    @field_validator("metrics_port")
    @classmethod
    def _beside_port(cls, value: int, info: ValidationInfo) -> int:
        given = info.data
        if value and value == given.get("port") and given.get("metrics_host") == given.get("host"):
            raise ValueError(f"must not be {value}, which is `port`: metrics need a port of their own")
        return value

    @field_validator("database")
    @classmethod
    def _sound_database(cls, value: str) -> str:
        if value.startswith(POSTGRESQL):
            if problem := postgresql_problem(value):
                raise ValueError(problem)
        elif value != MEMORY and (not value.strip() or "\0" in value or _SCHEME.match(value)):
            raise ValueError("must be the path of a file, a URL that begins with postgresql://, or `memory:`")
        return value

    @field_validator("redis")
    @classmethod
    def _sound_redis(cls, value: str) -> str:
        if value and (problem := redis_problem(value)):
            raise ValueError(problem)
        return value

    @field_validator("redis_cluster")
    @classmethod
    def _possible_cluster(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - the signature is pydantic's
        url = info.data.get("redis")
        if value and url is not None and (not url or redis_database(url) != 0):
            raise ValueError("needs `redis` to name a node of the cluster, which has no database but 0")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _sound_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if problem := proxy_problem(text):
                raise ValueError(problem)
        return value

    @field_validator("previous_master_keys")
    @classmethod
    def _distinct_keys(cls, value: tuple[SecretBytes, ...], info: ValidationInfo) -> tuple[SecretBytes, ...]:
        keys = [*value, info.data.get("master_key")]
        if len({key.get_secret_value() for key in keys if key}) < len([key for key in keys if key]):
            raise ValueError("must not repeat a key, nor hold the current master key: list earlier ones only")
        return value

    @field_validator("lifetimes", mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        merged: dict[str, Any] = {name: asdict(lifetimes) for name, lifetimes in LIFETIMES.items()}
        for name, given in value.items():
            merged[name] = {**merged.get(name, {}), **given} if isinstance(given, Mapping) else given
        return merged

    @field_validator("key_rotation_interval")
    @classmethod
    def _longer_than_caches(cls, value: int, info: ValidationInfo) -> int:
        low = 2 * info.data.get("jwks_lifetime", 1)  # a key is published for that long before it signs
        if not low <= value <= 366 * DAY:
            raise ValueError(f"must be between {low} (twice jwks_lifetime) and {366 * DAY}, not {value}")
        return value

    @field_validator("signing_algorithms")
    @classmethod
    def _distinct_algorithms(cls, value: tuple[SigningAlgorithm, ...]) -> tuple[SigningAlgorithm, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must name at least one algorithm, and none twice")
        return value

    @field_validator("session_idle_lifetime")
    @classmethod
    def _within_session(cls, value: int, info: ValidationInfo) -> int:
        high = info.data.get("session_lifetime", 366 * DAY)
        if not 60 <= value <= high:
            raise ValueError(f"must be between 60 and {high} (session_lifetime), not {value}")
        return value

    @property
    def database_file(self) -> Path | None:
        """The SQLite file; ``None`` where the database is none."""
        return None if self.database == MEMORY or self.database.startswith(POSTGRESQL) else Path(self.database)

    def required_master_key(self) -> bytes:
        """Return the master key.

        Raises:
            ConfigError: There is none.
        """
        if self.master_key is None:
            raise ConfigError(
                [
                    "MINTMARK_MASTER_KEY_FILE (or master_key_file in mintmark.toml): is required; `mintmark init` makes a key"
                ]
            )
        return self.master_key.get_secret_value()

    def policy(self) -> Policy:
        """Return what the authority needs to know."""
        return Policy(
            issuer=self.issuer,
            lifetimes={name: given.lifetimes() for name, given in self.lifetimes.items()},
            code_lifetime=self.code_lifetime,
            jwks_lifetime=self.jwks_lifetime,
            key_rotation_interval=self.key_rotation_interval,
            signing_algorithms=self.signing_algorithms,
            session_lifetime=self.session_lifetime,
            session_idle_lifetime=self.session_idle_lifetime,
            id_token_lifetime=self.id_token_lifetime,
        )


def issuer_problem(issuer: str) -> str | None:
    """Say why ``issuer`` cannot be an issuer identifier, or ``None`` if it can (RFC 8414 §2, OIDC Discovery §3).

    The text never repeats the URL: it may hold a password.
    """
    try:
        parts = urlsplit(issuer)
        port = parts.port
    except ValueError:
        return "must be a URL such as https://auth.example.com"
    if (
        not _PRINTABLE.fullmatch(issuer)
        or "\\" in issuer
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
    ):
        return "must be a URL such as https://auth.example.com"
    found = [
        (parts.scheme == "http" and parts.hostname not in _LOOPBACK_HOSTS, "use https: http is for loopback only"),
        ("@" in parts.netloc, "have no user info"),
        ("?" in issuer, "have no query"),
        ("#" in issuer, "have no fragment"),
        (issuer.endswith("/"), "not end with a slash"),
        (port == 0 or parts.netloc.endswith(":"), "have a port from 1 to 65535, or none"),
        (not issuer.startswith(f"{parts.scheme}://{parts.netloc.lower()}"), "have scheme and host in lower case"),
    ]
    wrong = [text for is_wrong, text in found if is_wrong]
    return f"must {', '.join(wrong)}" if wrong else None
