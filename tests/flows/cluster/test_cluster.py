"""flows/cluster: every manifest fits the schema of who reads it, and what it names is there."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from ray.serve.schema import ServeDeploySchema

from codi2_model.serving.deploy.settings import ServerSettings

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "flows" / "cluster"
KUBERNETES = "1.33"
KUBERAY = json.loads((Path(__file__).parent / "kuberay_schemas.json").read_text())
COMMANDS = {"codi2", "prefect", "ray", "python", "sh", "bash"}  # what `start` runs by name, and its own


def documents(*folders: str) -> list[tuple[str, dict[str, Any]]]:
    """Every object of the YAML files in the folders, with a name for the test."""
    found = []
    for folder in folders:
        for file in sorted((CLUSTER / folder).glob("*.yaml")):
            for item in yaml.safe_load_all(file.read_text()):
                found.append((f"{file.stem}-{item['kind']}-{item.get('metadata', {}).get('name', '')}", item))
    return found


PLAIN = [(name, item) for name, item in documents("kubernetes") if item["kind"] != "Kustomization"]
RAY = documents("kuberay")
POOL = json.loads((CLUSTER / "kubernetes" / "pool.json").read_text())


def pod_specs(node: Any) -> Iterator[dict[str, Any]]:
    """Every pod's spec within an object."""
    if isinstance(node, dict):
        if isinstance(node.get("containers"), list):
            yield node
        for value in node.values():
            yield from pod_specs(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_specs(value)


def flow_job() -> dict[str, Any]:
    """The job that the pool makes of a run, with the pool's own defaults."""
    values = {name: item.get("default") for name, item in POOL["variables"]["properties"].items()}
    values |= {"name": "run", "command": ["prefect", "flow-run", "execute"], "env": [], "labels": {}, "annotations": {}}

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        if isinstance(node, str) and (whole := re.fullmatch(r"\{\{ (\w+) \}\}", node)):
            return values[whole[1]]
        return re.sub(r"\{\{ (\w+) \}\}", lambda m: str(values[m[1]]), node) if isinstance(node, str) else node

    return fill(POOL["job_configuration"]["job_manifest"])


@pytest.mark.parametrize(("name", "item"), PLAIN, ids=[name for name, _ in PLAIN])
def test_kubernetes_objects_fit_its_schemas(name: str, item: dict[str, Any]) -> None:
    kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_the_job_of_a_flow_run_fits_too() -> None:
    kubernetes_validate.validate(flow_job(), KUBERNETES, strict=True)


def closed(schema: Any) -> Any:
    """The schema with no room for keys that it does not name: the cluster would drop them without a word."""
    if isinstance(schema, dict):
        more = (
            {"additionalProperties": False} if schema.get("properties") and "additionalProperties" not in schema else {}
        )
        return {key: closed(value) for key, value in schema.items()} | more
    return [closed(value) for value in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(("name", "item"), RAY, ids=[name for name, _ in RAY])
def test_kuberay_objects_fit_its_schemas_and_their_pods_those_of_kubernetes(name: str, item: dict[str, Any]) -> None:
    schema = closed(KUBERAY[item["kind"]])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(item, schema)
    pods = list(pod_specs(item["spec"]))
    assert len(pods) >= 2
    for spec in pods:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_a_wrong_key_is_noticed() -> None:
    item = json.loads(json.dumps(RAY[0][1]))
    item["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(item, closed(KUBERAY[item["kind"]]))


def test_rays_cluster_file_fits_its_schema_and_ray_reads_it() -> None:
    said = yaml.safe_load((CLUSTER / "ray-cluster.yaml").read_text())
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(said, schema)
    assert said["head_node_type"] in said["available_node_types"]


def all_pods() -> list[tuple[str, dict[str, Any]]]:
    items = [*PLAIN, *RAY, ("flow-run", flow_job())]
    return [(name, spec) for name, item in items for spec in pod_specs(item)]


@pytest.mark.parametrize(("name", "spec"), all_pods(), ids=[name for name, _ in all_pods()])
def test_pods_may_run_in_a_restricted_namespace_and_know_their_limits(name: str, spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"]
    named = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        secure = container["securityContext"]
        assert not secure["allowPrivilegeEscalation"] and secure["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) & set(container["resources"]["limits"])
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= named


@pytest.mark.parametrize("name", [name for name, item in PLAIN if item["kind"] in ("Deployment", "StatefulSet")])
def test_what_stays_up_is_probed(name: str) -> None:
    [spec] = pod_specs(dict(PLAIN)[name])
    for container in spec["containers"]:
        assert "livenessProbe" in container and {"readinessProbe", "startupProbe"} & set(container)


def test_everything_that_is_named_is_there() -> None:
    kustomization = yaml.safe_load((CLUSTER / "kubernetes" / "kustomization.yaml").read_text())
    files = {file.name for file in (CLUSTER / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    secrets = {item["name"] for item in kustomization["secretGenerator"]}
    example = (CLUSTER / "kubernetes" / "secrets.example").read_text()
    assert all(path in example for item in kustomization["secretGenerator"] for path in item["envs"])
    maps = {item["metadata"]["name"] for _, item in PLAIN if item["kind"] == "ConfigMap"}
    maps |= {item["name"] for item in kustomization["configMapGenerator"]}
    claims = {item["metadata"]["name"] for _, item in PLAIN if item["kind"] == "PersistentVolumeClaim"}
    accounts = {item["metadata"]["name"] for _, item in PLAIN if item["kind"] == "ServiceAccount"}
    text = json.dumps([item for _, item in [*PLAIN, *RAY]] + [flow_job()])
    assert set(re.findall(r'"secret(?:Ref|KeyRef)": \{"name": "([\w-]+)"', text)) == secrets
    assert set(re.findall(r'"configMap(?:Ref)?": \{"name": "([\w-]+)"', text)) == maps
    assert set(re.findall(r'"claimName": "([\w-]+)"', text)) == claims
    assert set(re.findall(r'"serviceAccountName": "([\w-]+)"', text)) == accounts
    keys = set(re.findall(r"^([A-Z0-9_]+)=", example, re.M))
    assert set(re.findall(r'"key": "(\w+)"', text)) <= keys


def test_commands_and_import_paths_exist() -> None:
    for name, spec in all_pods():
        for container in spec["containers"]:
            words = container.get("command") or container.get("args") or []
            if not container["image"].startswith("registry/codi2") or not words:
                continue
            program, *rest = words if words[0] in COMMANDS else ["codi2", *words]
            if program == "python":
                continue
            names = list(takewhile(lambda word: not word.startswith("-"), rest))
            command = [str(Path(sys.executable).with_name(program)), *names, "--help"]
            told = subprocess.run(
                command, capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"}
            )
            options = {word for word in rest if word.startswith("--")}
            assert told.returncode == 0 and not {word for word in options if word not in told.stdout}, (name, words)
    job = dict(RAY)["rayjob-RayJob-codi2-build"]
    assert "codi2 build full" in job["spec"]["entrypoint"]
    assert (ROOT / "datasets" / "recipes" / "full.yaml").is_file()


def test_the_service_deploys_what_serve_yaml_deploys() -> None:
    said = yaml.safe_load(dict(RAY)["rayservice-RayService-codi2"]["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(said)
    [application] = said["applications"]
    [ours] = yaml.safe_load((ROOT / "codi2_model" / "serving" / "serve.yaml").read_text())["applications"]
    assert application["import_path"] == ours["import_path"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    known = {field.name for field in fields(ServerSettings)} | {"checkpoint", "model_id", "gpu", "token_file"}
    assert set(application["args"]) <= known
    assert {item["name"] for item in application["deployments"]} <= {item["name"] for item in ours["deployments"]}
    wrapper = inspect.getsource(importlib.import_module("codi2_model.checkpoints.registry").resolve)
    assert "def resolve(root: str, checkpoint: str | None)" in wrapper  # what the init container calls


def test_pools_give_the_variables_that_the_deployments_set() -> None:
    docker = json.loads((CLUSTER / "docker-pool.json").read_text())
    said = yaml.safe_load((CLUSTER / "prefect.cluster.yaml").read_text())
    for name, pool in (("docker", docker), ("kubernetes", POOL)):
        jsonschema.Draft202012Validator.check_schema(pool["variables"])
        wanted = set(said["definitions"][name]["job_variables"])
        assert wanted <= set(pool["variables"]["properties"])
        used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(pool["job_configuration"])))
        assert used <= set(pool["variables"]["properties"])


@pytest.mark.skipif(shutil.which("hadolint", path=str(Path(sys.executable).parent)) is None, reason="no hadolint here")
def test_the_dockerfile_is_clean() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([linter, CLUSTER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout == ""


def test_the_dockerfile_copies_what_is_there_and_not_more() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M)
        for name in line.split()[:-1]
        if "--" not in name
    }
    let_in = set(re.findall(r"^!(.+)$", (CLUSTER / "Dockerfile.dockerignore").read_text(), re.M))
    for name in copied:
        assert (ROOT / name).exists() and name.split("/")[0] in let_in
    assert {name.split("/")[0] for name in copied} == let_in


@pytest.mark.parametrize("script", ["start", "healthy"])
def test_the_images_scripts_parse_and_start_codi2_unless_told_otherwise(script: str) -> None:
    assert subprocess.run(["sh", "-n", CLUSTER / script]).returncode == 0
    if script == "start":
        paths = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
        for words, said in ((["--version"], "0.1.0"), (["sh", "-c", "echo $((6 * 7))"], "42")):
            result = subprocess.run([CLUSTER / script, *words], capture_output=True, text=True, env=paths, timeout=60)
            assert result.stdout.startswith(said)
