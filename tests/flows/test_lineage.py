"""`codi2 lineage` as a user meets it: a tree by default, everything as JSON, one line where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from codi2_flows.cli.lineage import lineage, tree
from codi2_model.checkpoints.lineage import model_lineage
from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

CONFIG = {"preset": "tiny", "mllm": {"steps": 30, "tasks": {"draw": 1}}}


@pytest.fixture
def root(tmp_path: Path) -> str:
    store = Store(str(tmp_path))
    with Writer(store, "ingest", "ingest") as writer:
        writer.append(
            "corpora", [{"corpus": "kites", "revision": "r1", "source": "npm:kites", "licence": "MIT", "rows": 7}]
        )
        writer.append("source_rows", [{"source_row_id": "k1", "licence": "MIT"}])
    with Writer(store, "b1", "build", uses=["ingest"], info={"created_at": "2026-01-01"}) as writer:
        writer.append(
            "builds", [{"build_id": "b1", "recipe": "[bold]toys", "samples": 1, "created_at": "2026-01-01T00:00:00"}]
        )
        writer.append("samples", [{"sample_id": "s", "task": "draw", "split": "train", "licence": "MIT"}])
        writer.append("parts", [{"sample_id": "s", "position": 0, "asset_id": "a"}])
        writer.append("assets", [{"asset_id": "a", "source_row_id": "k1", "corpus": "kites"}])
    with Writer(store, "train-1", "run") as writer:
        run = {
            "run_id": "train-1",
            "kind": "train",
            "config": json.dumps(CONFIG),
            "build_id": "b1",
            "created_at": "2026-01-02",
        }
        writer.append("runs", [run])
        writer.append("checkpoints", [{"checkpoint_id": "c" * 16, "run_id": "train-1", "step": 30, "uri": "/models/c"}])
    return str(tmp_path)


def told(root: str, checkpoint: str) -> str:
    console = Console(width=160, markup=False, emoji=False, highlight=False)
    with console.capture() as caught:
        console.print(tree(model_lineage(Catalog(root), checkpoint)))
    return caught.get()


def test_the_tree_leads_to_corpora_and_counts_licences(root: str) -> None:
    text = told(root, "cc")
    for words in ("model cccccccccccccccc", "trained by train-1", "tiny: mllm 30 steps", "on build b1, recipe [bold]toys",
                  "draw: 1 sample,", "kites (MIT): 1 of 7 works in 1 sample;", "MIT: 1 work, 1 sample"):  # fmt: skip
        assert words in text


def test_everything_is_one_json_object(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    lineage("cc", root=root, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["trainings"][0]["origin"]["corpora"][0]["revision"] == "r1" and not found["in_place"]


def test_no_model_in_place_is_said_in_one_line(root: str) -> None:
    with pytest.raises(CatalogError, match="no model is in place under"):
        lineage(root=root)
