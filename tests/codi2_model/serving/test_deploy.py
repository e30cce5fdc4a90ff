"""The application as `serve deploy` runs it, from its YAML: decoders as deployments of their own, several ingresses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from codi2_storage.host.ports import free_port

# `serve deploy` hands the file to the cluster's dashboard, which does this; the dashboard itself is not started in tests.
SCRIPT = """
import sys, yaml
from codi2_datasets.runtime.ray_executor import local_cluster
with local_cluster(4):
    from ray import serve
    from ray.serve._private.api import serve_start
    from ray.serve.schema import ServeDeploySchema
    config = yaml.safe_load(open(sys.argv[1]))
    client = serve_start(http_options={**config["http_options"], "location": "HeadOnly"})
    client.deploy_apps(ServeDeploySchema.model_validate(config), _blocking=True)
    print(serve.status().applications["codi2"].status.value, flush=True)
    sys.stdin.read()
    serve.shutdown()
"""


@pytest.fixture(scope="module")
def url(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shipped YAML, deployed; only where the checkpoint lies and the port are changed."""
    config = yaml.safe_load(resources.files("codi2_model.serving").joinpath("serve.yaml").read_text("utf-8"))
    port = free_port(0)
    config["http_options"]["port"] = port
    config["applications"][0]["args"] |= {"checkpoint": str(checkpoint)}
    file = tmp_path_factory.mktemp("deploy") / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line.strip() == "RUNNING" for line in lines)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.communicate("", timeout=60)


@pytest.mark.slow
def test_the_shipped_yaml_comes_up_and_every_decoder_answers(url: str) -> None:
    for kind in ("image", "audio", "video"):
        body = {"messages": [{"role": "user", "content": "Make it."}], "modalities": [kind], "steps": 2}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
        assert answer["choices"][0]["message"]["parts"] == [{"type": kind, "index": 0}]


@pytest.mark.slow
def test_metrics_tell_of_all_replicas_whichever_ingress_is_asked(url: str) -> None:
    for _ in range(12):
        httpx.get(f"{url}/v1/chat/completions", timeout=10)
        body: dict[str, Any] = {"messages": [], "modalities": ["text"]}
        assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=10).status_code == 400
    readings = {tuple(refusals(httpx.get(f"{url}/metrics", timeout=10).text)) for _ in range(12)}
    assert len(readings) == 1 and sum(count for _, count in readings.pop()) == 12
    text = httpx.get(f"{url}/metrics", timeout=10).text
    assert len(set(re.findall(r'replica="(\w+)"', text))) == 3  # two ingresses and a model
    assert text.count("# TYPE codi2_requests_total counter") == 1


def refusals(metrics: str) -> list[tuple[str, float]]:
    pattern = r'codi2_requests_total{replica="(\w+)",route="chat",status="400"} ([\d.]+)'
    return [(replica, float(count)) for replica, count in re.findall(pattern, metrics)]
