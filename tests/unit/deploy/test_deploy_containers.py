"""The image and the composition. There is no Docker where the tests run: this is what can be said of the files."""

import fnmatch
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.unit.deploy.deployed import DEPLOY, ROOT, accepted, documents, is_pinned, is_understood

from mintmark import __version__
from mintmark.cli.serve import PATIENCE

DOCKER = DEPLOY / "docker"
KEY = "ab" * 32


def instructions() -> list[tuple[str, str]]:
    """Return what the Dockerfile says, one instruction at a time."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    begin = max(number for number, (word, _) in enumerate(every) if word == "FROM")
    return every[begin:]


def composition() -> dict[str, Any]:
    (found,) = documents(DOCKER / "compose.yaml")
    return found


SERVICES: dict[str, dict[str, Any]] = composition()["services"]
OURS = ("migrate", "node1", "node2")


def environment_of_image() -> dict[str, str]:
    pairs = [pair for word, text in last_stage() if word == "ENV" for pair in shlex.split(text)]
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_image_is_made_in_stages_of_known_versions() -> None:
    stages = [text.split() for word, text in instructions() if word == "FROM"]
    assert len(stages) == 3
    assert all(is_pinned(stage[0]) for stage in stages)
    # What is built in one runs in the other.
    assert stages[1][0] == stages[2][0]


def test_it_is_made_by_the_uv_that_makes_everything_else() -> None:
    (image,) = [text.split()[0] for word, text in instructions() if word == "FROM" and "/uv:" in text]
    bounds = re.search(r"^uv_wanted='uv>=(\S+),<(\S+)'$", (ROOT / "scripts" / "bootstrap").read_text(), re.MULTILINE)
    assert bounds is not None
    version, low, high = (tuple(map(int, text.split("."))) for text in (image.rpartition(":")[2], bounds[1], bounds[2]))
    assert low <= version < high


def test_the_last_stage_builds_nothing_and_runs_as_nobody_special() -> None:
    stage = last_stage()
    assert [text for word, text in stage if word == "USER"] == ["10001:10001"]
    ran = " ".join(text for word, text in stage if word == "RUN")
    assert not re.search(r"apt|pip|uv |curl|wget|gcc|sudo|chmod", ran)
    copied = [text for word, text in stage if word == "COPY"]
    assert copied == ["--from=build /opt/mintmark /opt/mintmark"]
    # Users are made before, and nothing is done as root after.
    words = [word for word, _ in stage]
    assert "RUN" not in words[words.index("USER") :]


def test_nothing_secret_is_baked_in() -> None:
    names = [name for word, text in instructions() if word in {"ENV", "ARG"} for name in re.findall(r"(\w+)=", text)]
    assert not [name for name in names if re.search("PASSWORD|SECRET|KEY|TOKEN", name)]


def test_only_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    rules = [line for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    needed = {
        name.rstrip("/")
        for word, text in instructions()
        if word == "COPY" and not text.startswith("--from")
        for name in text.split()[:-1]
    }
    assert needed == set(allowed)
    assert all((ROOT / name).exists() for name in needed)
    for secret in (
        "mintmark.key",
        "mintmark.toml",
        "mintmark.sqlite3",
        ".git/config",
        "deploy/docker/secrets/master_key",
    ):
        assert not any(fnmatch.fnmatch(secret, rule) or secret.startswith(f"{rule}/") for rule in allowed)


def test_the_health_of_the_image_is_asked_by_python() -> None:
    (check,) = [text for word, text in last_stage() if word == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/readyz" in command[2]
    assert environment_of_image()["MINTMARK_PORT"] in command[2]


def test_the_image_starts_what_exists() -> None:
    said = dict(last_stage())
    assert json.loads(said["ENTRYPOINT"]) == ["mintmark"]
    assert is_understood(json.loads(said["CMD"]))
    ports = environment_of_image()
    assert said["EXPOSE"].split() == [ports["MINTMARK_PORT"], ports["MINTMARK_METRICS_PORT"]]


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_the_composition_are_accepted(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    mounted = {f"/run/secrets/{secret}": KEY for secret in service["secrets"]}
    environment = {**environment_of_image(), **service["environment"]}
    assert environment["MINTMARK_ISSUER"].startswith("${MINTMARK_ISSUER:?")
    settings = accepted(environment | {"MINTMARK_ISSUER": "https://id.example"}, mounted, tmp_path)
    assert settings.required_master_key() == bytes.fromhex(KEY)
    assert settings.database_password is not None
    assert settings.redis_password is not None
    assert settings.database.startswith("postgresql://mintmark@postgres:")
    assert settings.redis.startswith("redis://valkey:")
    assert settings.metrics_port
    assert is_understood(service.get("command", ["serve"]))


def test_nodes_trust_nginx_and_nobody_else() -> None:
    nginx = SERVICES["nginx"]["networks"]["edge"]["ipv4_address"]
    assert {SERVICES[name]["environment"]["MINTMARK_TRUSTED_PROXIES"] for name in OURS} == {nginx}


def test_nginx_finds_the_nodes_where_its_file_says() -> None:
    named = re.findall(r"^ +server ([a-z0-9.]+):(\d+)", (DEPLOY / "authority" / "nginx.conf").read_text(), re.MULTILINE)
    aliases = {alias for name in OURS[1:] for alias in SERVICES[name]["networks"]["edge"]["aliases"]}
    assert {host for host, _ in named} == aliases
    assert {port for _, port in named} == {environment_of_image()["MINTMARK_PORT"]}
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["nginx"]["volumes"])
    assert "../authority/nginx.conf" in mounted
    certificates = re.findall(
        r"ssl_certificate(?:_key)? (\S+)/[a-z.]+;", (DEPLOY / "authority" / "nginx.conf").read_text()
    )
    assert set(certificates) == {mounted["./tls"]}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_held_tight(name: str) -> None:
    service = SERVICES[name]
    assert is_pinned(service["image"]), service["image"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert int(service["user"].split(":")[0]) > 0
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service.get("healthcheck") or name in OURS[1:]
    assert service["restart"] in {"unless-stopped", "no"}


def test_only_nginx_is_published_and_only_nodes_reach_the_stores() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}
    assert SERVICES["nginx"]["ports"] == ["443:443"]
    networks = composition()["networks"]
    assert networks["inside"]["internal"] is True
    for store in ("postgres", "valkey"):
        assert SERVICES[store]["networks"] == ["inside"]
    assert "inside" not in SERVICES["nginx"]["networks"]


def test_secrets_are_files_that_no_environment_repeats() -> None:
    secrets = composition()["secrets"]
    assert all(set(secret) == {"file"} and secret["file"].startswith("./secrets/") for secret in secrets.values())
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(secrets)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or name.endswith("_FILE"), name
            assert not name.endswith("_FILE") or value.removeprefix("/run/secrets/") in service["secrets"]
    assert (DOCKER / ".gitignore").read_text().split() == ["/secrets/", "/tls/"]


def test_nodes_wait_for_the_schema_and_get_the_time_to_stop() -> None:
    for name in OURS[1:]:
        service = SERVICES[name]
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        command = json.loads(dict(last_stage())["CMD"])
        delay = int(command[command.index("--drain-delay") + 1])
        assert int(service["stop_grace_period"].removesuffix("s")) > delay + PATIENCE
    assert SERVICES["migrate"]["command"] == ["migrate"]
    assert SERVICES["migrate"]["restart"] == "no"


def test_the_image_has_the_version_of_the_project() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {f"mintmark:{__version__}"}
    assert f"-t mintmark:{__version__} ." in (DOCKER / "Dockerfile").read_text()
