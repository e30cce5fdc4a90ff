"""prefect.yaml: every flow is deployed, every entrypoint loads, every parameter exists."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["entrypoint"])
def test_entrypoints_load_and_take_their_parameters(deployment: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    known = inspect.signature(flow.fn).parameters
    assert set(deployment["parameters"]) <= set(known)
    required = {name for name, value in known.items() if value.default is inspect.Parameter.empty}
    assert required <= set(deployment["parameters"])


def test_every_flow_is_deployed() -> None:
    deployed = {deployment["entrypoint"].split(":")[1] for deployment in DEPLOYMENTS}
    assert deployed == {
        "build_dataset", "fetch_media", "train_model", "evaluate_model", "generate_batch", "serve_model", "retrain",
    }  # fmt: skip
