"""The documents name files that are there, and the figures that the files have."""

import re

import pytest
from tests.unit.deploy.deployed import DEPLOY, ROOT

DOCUMENTS = ("deploying.md", "proxies.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert len(targets) > 3
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in targets:
        path, _, fragment = target.partition("#")
        assert (ROOT / "docs" / path).exists(), target
        assert path or fragment in headings, target


def test_every_file_under_deploy_is_named_somewhere() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    named = (
        pages
        + (DEPLOY / "kubernetes" / "kustomization.yaml").read_text()
        + (DEPLOY / "docker" / "compose.yaml").read_text()
    )
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.name[0] != "."]
    assert {path.name for path in files if path.name not in named} <= {"Dockerfile.dockerignore", "mintmark.lua"}


def test_the_settings_that_proxies_get_in_the_document_are_in_the_files() -> None:
    text = (ROOT / "docs" / "proxies.md").read_text()
    for kind in ("nginx.conf", "haproxy.cfg"):
        file = (DEPLOY / "authority" / kind).read_text()
        told = [said for said in re.findall(r"`((?:proxy_set_header|http-request) [^`]+)`", text) if said in file]
        assert len(told) == 2
