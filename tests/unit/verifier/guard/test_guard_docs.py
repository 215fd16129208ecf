"""docs/guard.md shows the files under deploy/, which the tests of the gateways run."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.support.gateways import DEPLOY

from mintmark.verifier.guard import settings
from mintmark.verifier.guard.headers import NOBODY

DOCUMENT = DEPLOY.parent / "docs" / "guard.md"
FILES = sorted(
    [DEPLOY / "guard.toml"]
    + [file for gateway in ("envoy", "haproxy", "nginx", "traefik") for file in (DEPLOY / gateway).iterdir()]
)


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_every_file_is_shown_as_it_is(file: Path) -> None:
    blocks = re.findall(r"```\w+\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert file.read_text(encoding="utf-8") in blocks


def test_the_settings_shown_are_in_order(tmp_path: Path) -> None:
    (tmp_path / "gateway.secret").write_text("s3cret")
    file = tmp_path / "guard.toml"
    file.write_text((DEPLOY / "guard.toml").read_text(encoding="utf-8"))
    routes = settings.read_settings(file, {}).routes
    public = routes.find("GET", ("health",))
    assert public is not None
    assert public.requirement is None


def test_every_key_is_described() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    keys = {*settings._File.__struct_fields__, *settings._Route.__struct_fields__}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    assert tomllib.loads((DEPLOY / "guard.toml").read_text(encoding="utf-8"))["route"]


def test_nginx_which_cannot_copy_by_a_pattern_copies_every_header() -> None:
    text = (DEPLOY / "nginx" / "mintmark.conf").read_text(encoding="utf-8")
    for name, _ in NOBODY:
        variable = name.decode().removeprefix("x-").replace("-", "_")
        assert f"auth_request_set ${variable} $upstream_http_{name.decode().replace('-', '_')};" in text
        assert f"proxy_set_header {name.decode().title()} ${variable};" in text
