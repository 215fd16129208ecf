"""The manifests. There is no Kubernetes where the tests run: this is what can be said of the files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import Installation
from tests.unit.deploy.deployed import DEPLOY, accepted, documents, is_pinned, is_understood
from tests.unit.deploy.test_deploy_containers import KEY, environment_of_image

from mintmark import __version__
from mintmark.cli.serve import PATIENCE
from mintmark.web.routes import web_routes
from mintmark.web.streaming import Feed

FOLDER = DEPLOY / "kubernetes"
EVERY = [(path.name, document) for path in sorted(FOLDER.glob("*.yaml")) for document in documents(path)]
OBJECTS = {
    (document["kind"], document["metadata"]["name"]): document
    for _, document in EVERY
    if document["kind"] != "Kustomization"
}
NODES = OBJECTS["Deployment", "mintmark"]
JOB = next(document for (kind, _), document in OBJECTS.items() if kind == "Job")
PODS = {"node": NODES["spec"]["template"], "migrate": JOB["spec"]["template"]}
each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod["spec"]["containers"]
    yield from pod["spec"].get("initContainers", [])


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", selector)
    return wanted.items() <= labels.items()


def test_everything_is_in_one_namespace_that_lets_no_privileged_pod_in() -> None:
    labels = OBJECTS["Namespace", "mintmark"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {
        document["metadata"].get("namespace") for (kind, _), document in OBJECTS.items() if kind != "Namespace"
    } == {"mintmark"}


def test_everything_is_applied_but_the_example_and_what_is_optional() -> None:
    kustomization = next(document for _, document in EVERY if document["kind"] == "Kustomization")
    left_out = {"kustomization.yaml", "secret.example.yaml", "autoscaler.yaml"}
    assert set(kustomization["resources"]) == {name for name, _ in EVERY} - left_out
    (image,) = kustomization["images"]
    assert {one["image"] for pod in PODS.values() for one in containers(pod)} == {f"{image['name']}:{image['newTag']}"}
    assert image["newTag"] == __version__
    assert JOB["metadata"]["name"] == f"mintmark-migrate-{__version__.replace('.', '-')}"


# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
@each_pod
def test_pods_are_held_tight(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all({"secret", "emptyDir"} & volume.keys() for volume in spec["volumes"])
    for container in containers(pod):
        assert is_pinned(container["image"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@each_pod
def test_secrets_are_files_for_our_eyes_only(pod: dict[str, Any]) -> None:
    (volume,) = [volume for volume in pod["spec"]["volumes"] if "secret" in volume]
    # Octal in YAML 1.1, which is what Kubernetes reads.
    assert volume["secret"]["defaultMode"] & 0o007 == 0
    assert ("Secret", volume["secret"]["secretName"]) in OBJECTS
    for container in containers(pod):
        assert not any("secretRef" in source for source in container.get("envFrom", []))
        assert "env" not in container
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
        assert mount["readOnly"] is True


@each_pod
def test_settings_and_command_are_accepted(pod: dict[str, Any], tmp_path: Path) -> None:
    secret = OBJECTS["Secret", "mintmark-secrets"]["stringData"]
    assert all(value.startswith("<") for value in secret.values()), "an example, without a real secret"
    for container in containers(pod):
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
        mounted = {f"{mount['mountPath']}/{name}": KEY for name in secret}
        ((source,),) = [list(source.values()) for source in container["envFrom"]]
        settings = accepted(
            {**environment_of_image(), **OBJECTS["ConfigMap", source["name"]]["data"]}, mounted, tmp_path
        )
        assert settings.required_master_key() == bytes.fromhex(KEY)
        assert settings.trusted_proxies
        assert "sslmode=verify-full" in settings.database
        assert settings.database.partition("sslrootcert=")[2] in mounted
        assert settings.redis.startswith("rediss://")
        assert is_understood(container["args"])


async def test_probes_ask_what_is_there(mint: Installation) -> None:
    paths = web_routes(mint.authority, Feed(mint.authority))
    (container,) = containers(NODES["spec"]["template"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    image = environment_of_image()
    assert ports == {"http": int(image["MINTMARK_PORT"]), "metrics": int(image["MINTMARK_METRICS_PORT"])}
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/livez",
        # Not whether the database answers: starting again would not help it.
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert all(probe["port"] == "http" and probe["path"] in paths for probe in asked.values())


def test_nodes_are_spread_and_replaced_one_by_one() -> None:
    spec = NODES["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = spec["template"]
    assert selects(spec["selector"], pod["metadata"]["labels"])
    spread = {rule["topologyKey"]: rule for rule in pod["spec"]["topologySpreadConstraints"]}
    assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(selects(rule["labelSelector"], pod["metadata"]["labels"]) for rule in spread.values())
    (container,) = containers(pod)
    delay = int(container["args"][container["args"].index("--drain-delay") + 1])
    readiness = container["readinessProbe"]
    assert delay > readiness["periodSeconds"] * readiness["failureThreshold"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > delay + PATIENCE
    budget = OBJECTS["PodDisruptionBudget", "mintmark"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"], pod["metadata"]["labels"])
    assert not selects(budget["selector"], JOB["spec"]["template"]["metadata"]["labels"])


def test_the_migration_runs_once_and_is_not_taken_for_a_node() -> None:
    labels = JOB["spec"]["template"]["metadata"]["labels"]
    assert JOB["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert not selects(NODES["spec"]["selector"], labels)
    for (kind, _), document in OBJECTS.items():
        if kind == "Service":
            assert not selects(document["spec"]["selector"], labels)


def test_metrics_are_not_where_the_public_is() -> None:
    services = {name: document["spec"] for (kind, name), document in OBJECTS.items() if kind == "Service"}
    labels = NODES["spec"]["template"]["metadata"]["labels"]
    assert all(selects(spec["selector"], labels) for spec in services.values())
    ports = {name: [port["targetPort"] for port in spec["ports"]] for name, spec in services.items()}
    assert ports == {"mintmark": ["http"], "mintmark-metrics": ["metrics"]}
    assert services["mintmark-metrics"]["clusterIP"] == "None"
    assert {spec.get("type", "ClusterIP") for spec in services.values()} == {"ClusterIP"}


def test_nobody_reaches_a_node_but_those_it_believes_and_prometheus() -> None:
    policies = {name: document["spec"] for (kind, name), document in OBJECTS.items() if kind == "NetworkPolicy"}
    assert policies["mintmark-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policy = policies["mintmark"]
    assert all(selects(policy["podSelector"], pod["metadata"]["labels"]) for pod in PODS.values())
    let_in = {
        port["port"]: source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["ingress"]
        for port in rule["ports"]
        for source in rule["from"]
    }
    assert let_in == {"http": "ingress-nginx", "metrics": "monitoring"}
    assert all(rule.get("to") and rule.get("ports") for rule in policy["egress"])
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 5432, 6379}


def test_the_autoscaler_scales_the_nodes() -> None:
    spec = OBJECTS["HorizontalPodAutoscaler", "mintmark"]["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mintmark"}
    assert spec["minReplicas"] >= 2
