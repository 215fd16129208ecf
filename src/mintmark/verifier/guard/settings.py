"""The settings of a guard: one TOML file, read once, refused whole if anything in it is not understood."""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from mintmark.oauth.scope import is_scope_token
from mintmark.verifier.bearer import Requirement
from mintmark.verifier.guard.paths import Segments, Unreadable, segments_of
from mintmark.verifier.guard.routes import METHOD, Route, Routes
from mintmark.verifier.judging import OnStale
from mintmark.verifier.verifier import Introspect, Verifier

_SECRET: Final = "MINTMARK_CLIENT_SECRET"
_SECRET_FILE: Final = "MINTMARK_CLIENT_SECRET_FILE"

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Names = _Text | Annotated[list[_Text], msgspec.Meta(min_length=1)]


class SettingsUnsound(Exception):  # noqa: N818 - says what is the case
    """The settings cannot be used.

    Attributes:
        problems: One line each, for the person who wrote them; each names the key. No secret is in them.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The file but for its routes."""

    issuer: _Text
    audience: _Names
    client_id: _Text | None = None
    client_secret_file: _Text | None = None
    introspect: Introspect = "always"
    on_stale: OnStale = "serve"


class _Route(msgspec.Struct, frozen=True, kw_only=True):
    """One ``[[route]]`` of the file."""

    path: str
    methods: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    public: bool = False
    scope: _Names | None = None
    role: _Names | None = None
    permission: _Names | None = None
    acr: _Names | None = None
    max_age: Annotated[int, msgspec.Meta(ge=0)] | None = None
    on_stale: OnStale | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard is to do.

    Attributes:
        routes: What may pass.
        verifier: Judges the tokens; it has asked nobody anything yet.
    """

    routes: Routes
    verifier: Verifier


_Shape = TypeVar("_Shape", _File, _Route)


def read_settings(file: Path, environ: Mapping[str, str]) -> Settings:
    """Return what ``file`` says.

    Args:
        file: TOML; ``client_secret_file`` in it is relative to its folder.
        environ: ``MINTMARK_CLIENT_SECRET`` or ``MINTMARK_CLIENT_SECRET_FILE`` in it goes before the file's.

    Raises:
        SettingsUnsound: With everything that is wrong.
    """
    try:
        table = tomllib.loads(_text(file, "the settings"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsUnsound([f"this is no TOML: {error}"]) from None
    problems: list[str] = []
    tables = table.pop("route", [])
    if not isinstance(tables, list) or not all(isinstance(route, dict) for route in tables):
        problems.append("write each route under a line [[route]] of its own")
        tables = []
    routes = _routes(tables, problems)
    stated = _shaped(table, _File, "", problems)
    verifier = None if stated is None else _verifier(stated, file.parent, environ, problems)
    if problems or verifier is None or routes is None:
        raise SettingsUnsound(problems)
    return Settings(routes=routes, verifier=verifier)


def _shaped(table: Mapping[str, Any], shape: type[_Shape], where: str, problems: list[str]) -> _Shape | None:
    known = list(shape.__struct_fields__)
    unknown = [key for key in table if key not in known]
    for key in unknown:
        nearest = get_close_matches(key, known, n=1)
        problems.append(f"{where}unknown key {key}; " + (f"did you mean {nearest[0]}?" if nearest else "remove it"))
    try:
        return msgspec.convert({key: value for key, value in table.items() if key in known}, shape)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        problems.append(f"{where}{key.rstrip('`')}: {what}" if key else f"{where}{what}")
        return None


def _routes(tables: Iterable[dict[str, Any]], problems: list[str]) -> Routes | None:
    routes = []
    for number, table in enumerate(tables, 1):
        where = f"route {number} ({table.get('path', 'without path')}): "
        stated = _shaped(table, _Route, where, problems)
        if stated is not None:
            wrong = _contradictions(stated)
            segments = _segments(stated.path, wrong)
            problems += [where + problem for problem in wrong]
            methods = None if stated.methods is None else frozenset(stated.methods)
            routes.append(Route(stated.path, segments, methods, _requirement(stated)))
    try:
        return Routes(routes)
    except ValueError as error:
        problems.append(str(error))
        return None


def _contradictions(stated: _Route) -> list[str]:
    required = [name for name in _REQUIRED if getattr(stated, name) is not None]
    problems = []
    if stated.public and required:
        problems.append(f"public, but {' and '.join(required)} required: it is one or the other")
    problems += [f"methods: {method!r} is no method" for method in stated.methods or () if not METHOD.fullmatch(method)]
    for key in ("role", "permission"):
        if "" in _split(getattr(stated, key)):
            problems.append(f"{key}: a name is empty; separate names by one space")
    for key in ("scope", "acr"):
        # They are shown to clients, in quotes (RFC 6750 §3).
        if not all(map(is_scope_token, _split(getattr(stated, key)))):
            problems.append(f"{key}: printable ASCII without spaces, quotes and backslashes")
    return problems


_REQUIRED: Final = ("scope", "role", "permission", "acr", "max_age", "on_stale")


def _segments(path: str, problems: list[str]) -> Segments:
    try:
        segments = segments_of(path)
    except Unreadable as refused:
        problems.append(f"path: {refused}; no request with it could pass")
        return ()
    if "?" in path:
        problems.append("path: without a query")
    elif path != "/" and path.endswith("/"):
        problems.append("path: without the slash at the end; the route is for what is below as well")
    return segments


def _requirement(stated: _Route) -> Requirement | None:
    if stated.public:
        return None
    return Requirement(
        scope=_split(stated.scope),
        role=_split(stated.role),
        permission=_split(stated.permission),
        acr=_split(stated.acr),
        max_age=stated.max_age,
        on_stale=stated.on_stale,
    )


def _split(names: str | list[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return tuple(names.split(" ")) if isinstance(names, str) else tuple(names)


def _verifier(stated: _File, folder: Path, environ: Mapping[str, str], problems: list[str]) -> Verifier | None:
    try:
        return Verifier(
            stated.issuer,
            stated.audience.split() if isinstance(stated.audience, str) else stated.audience,
            client_id=stated.client_id,
            client_secret=_secret(stated, folder, environ),
            introspect=stated.introspect,
            on_stale=stated.on_stale,
        )
    except ValueError as error:
        problems.append(str(error))
    except SettingsUnsound as error:
        problems += error.problems
    return None


def _secret(stated: _File, folder: Path, environ: Mapping[str, str]) -> str | None:
    if stated.client_id is None:
        if stated.client_secret_file is not None:
            raise SettingsUnsound(["client_secret_file: there is no client_id that it belongs to"])
        return None
    if environ.get(_SECRET):
        return environ[_SECRET]
    if environ.get(_SECRET_FILE):
        return _text(Path(environ[_SECRET_FILE]), _SECRET_FILE).strip()
    if stated.client_secret_file is None:
        raise SettingsUnsound([f"client_secret_file: name the file with the secret of client_id, or set {_SECRET}"])
    return _text(folder / stated.client_secret_file, "client_secret_file").strip()


def _text(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsUnsound([f"{what}: {file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsUnsound([f"{what}: {file} is no text in UTF-8"]) from None
