"""Every key by its full name, derived from the model: what the loader accepts and the reference lists."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic.fields import FieldInfo

from mintmark.authority.policy import BOUNDS, LIFETIMES
from mintmark.config.settings import PREFIX, ClassificationLifetimes, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that can be set.

    Attributes:
        name: Dotted, as in ``mintmark.toml``.
        default: As it would stand in ``mintmark.toml``; empty where there is none.
        bounds: For people.
        what: One line.
        secret: Holds a secret itself, so it may stand in the environment but not in ``mintmark.toml``.
        required: Nothing starts without it.
    """

    name: str
    default: str = ""
    bounds: str
    what: str
    secret: bool = False
    required: bool = False

    @property
    def environment(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.replace(".", "__").upper()


def _extra(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


def _lifetimes() -> Iterator[Key]:
    for classification, defaults in LIFETIMES.items():
        for name, default in asdict(defaults).items():
            low, high = BOUNDS[name]
            yield Key(
                name=f"lifetimes.{classification}.{name}",
                default=str(default),
                bounds=f"{low} to {high}",
                what=ClassificationLifetimes.model_fields[name].description or "",
            )


def _keys() -> Iterator[Key]:
    for name, field in Settings.model_fields.items():
        extra, what = _extra(field), field.description or ""
        if name == "lifetimes":
            yield from _lifetimes()
        elif extra["secret"]:
            yield Key(name=name, bounds=extra["bounds"], what=what, secret=True)
            what = f"File that holds `{name}`" + (", one per line" if name.endswith("s") else "")
            yield Key(name=f"{name}_file", bounds="path; not for everybody to read", what=what)
        else:
            default = "" if field.is_required() else json.dumps(field.default)
            yield Key(name=name, default=default, bounds=extra["bounds"], what=what, required=field.is_required())


KEYS: Final = {key.name: key for key in _keys()}
BY_ENVIRONMENT: Final = {key.environment: key for key in KEYS.values()}
IN_TOML: Final = frozenset(key.name for key in KEYS.values() if not key.secret)
MASTER_KEYS: Final = frozenset({"master_key", "previous_master_keys"})
"""What nothing but the authority itself needs."""
SECRETS: Final = tuple(key.name for key in KEYS.values() if key.secret)
