"""From a model back to its corpora, over a catalog written by hand: a model that began with another one's weights."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_model.checkpoints.lineage import model_lineage, trained_tasks
from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.catalog.provenance import LicenceUse, counted
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

CONFIG = {"seed": 1, "align": {"steps": 0, "tasks": {"idle": 1}}, "mllm": {"steps": 3, "tasks": {"draw": 1, "tell": 1}}}
FIRST, SECOND = "aaaa000000000000", "aabb000000000000"


def publish(store: Store, build: str, parent: str | None, at: str) -> None:
    """Task `draw` shows kites, and a mix of a kite and a drum; `tell` is held out whole; `idle` shows drums."""
    assets = [
        {"asset_id": "kite1", "source_row_id": "k1", "corpus": "kites"},
        {"asset_id": "kite2", "source_row_id": "k2", "corpus": "kites"},
        {"asset_id": "drum1", "source_row_id": "d1", "corpus": "drums"},
        {"asset_id": "mix", "op": "mix", "inputs": ["kite2", "drum1"]},
        {"asset_id": "mix of mix", "op": "again", "inputs": ["mix"]},
    ]
    samples = [
        ("s1", "draw", "train", "CC0-1.0", ["kite1"]), ("s2", "draw", "train", "CC-BY-4.0", ["kite1", "mix of mix"]),
        ("s3", "tell", "test", "CC0-1.0", ["kite2"]), ("s4", "idle", "train", "CC-BY-4.0", ["drum1"]),
    ]  # fmt: skip
    with Writer(store, build, "build", uses=["ingests"], info={"created_at": at}) as writer:
        row = {"build_id": build, "recipe": "toys", "parent": parent, "samples": 4, "created_at": at, "spec": "{}"}
        writer.append("builds", [row])
        writer.append("assets", assets)
        writer.append("samples", [
            {"build_id": build, "sample_id": name, "task": task, "split": split, "licence": licence}
            for name, task, split, licence, _ in samples
        ])  # fmt: skip
        writer.append("parts", [
            {"build_id": build, "sample_id": name, "position": n, "asset_id": asset}
            for name, _, _, _, shown in samples for n, asset in enumerate(shown)
        ])  # fmt: skip
        writer.append(
            "shards", [{"build_id": build, "shard": "draw.tar", "task": "draw", "split": "train", "bytes": 10}]
        )


def train(store: Store, run_id: str, checkpoint: str, build: str, start: str | None, at: str) -> None:
    with Writer(store, run_id, "run") as writer:
        run = {"run_id": run_id, "kind": "train", "config": json.dumps(CONFIG), "build_id": build, "status": "finished"}
        writer.append("runs", [{**run, "seed": 1, "start": start, "seconds": 5.0, "created_at": at}])
        weights = {"checkpoint_id": checkpoint, "run_id": run_id, "step": 3, "uri": f"/models/{checkpoint}"}
        writer.append("checkpoints", [weights])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    store = Store(str(tmp_path_factory.mktemp("toys")))
    with Writer(store, "ingests", "ingest") as writer:
        corpora = [("kites", "CC0-1.0", 2), ("drums", "CC-BY-4.0", 9)]
        writer.append("corpora", [
            {"corpus": name, "revision": "r1", "source": f"file:{name}", "licence": licence, "rows": n}
            for name, licence, n in corpora
        ])  # fmt: skip
        writer.append("source_rows", [
            {"source_row_id": name, "licence": "CC-BY-4.0" if name == "d1" else "CC0-1.0"} for name in ("k1", "k2", "d1")
        ])  # fmt: skip
    publish(store, "build1", None, "2026-01-01")
    publish(store, "build2", "build1", "2026-02-01")
    train(store, "train-1", FIRST, "build1", None, "2026-01-02")
    train(store, "train-2", SECOND, "build2", FIRST, "2026-02-02")
    train(store, "train-gone", "cccc000000000000", "build0", None, "2025-01-01")
    with Writer(store, "judged", "run") as writer:
        writer.append("runs", [{"run_id": "judged", "kind": "evaluation", "build_id": "build2", "status": "finished"}])
        figure = {"run_id": "judged", "checkpoint_id": SECOND, "suite": "quick", "metric": "concept@1", "value": 0.5}
        writer.append("metrics", [figure, {**figure, "baseline": "chance", "value": 0.1}])
    with Writer(store, "gate-1", "gate") as writer:
        gate = {
            "gate_id": "gate-1",
            "candidate": SECOND,
            "champion": FIRST,
            "promoted": True,
            "created_at": "2026-02-03",
        }
        writer.append(
            "gates", [{**gate, "role": role, "metric": name} for role, name in (("guard", "b"), ("chosen", "a"))]
        )
    for name, since in ((FIRST, "2026-01-03"), (SECOND, "2026-02-03")):
        with Writer(store, f"deploy-{name}", "deployment") as writer:
            writer.append(
                "deployments", [{"name": "default", "checkpoint_id": name, "uri": f"/models/{name}", "since": since}]
            )
    return Catalog(store)


def test_the_model_in_place_leads_back_to_the_corpora_that_training_saw(catalog: Catalog) -> None:
    found = model_lineage(catalog)
    assert found.in_place and found.checkpoint["checkpoint_id"] == SECOND
    origin = found.trainings[0].origin
    assert origin is not None and origin.build["build_id"] == "build2"
    assert {(use.corpus, use.works, use.samples, use.rows) for use in origin.corpora} == {
        ("kites", 2, 2, 2),
        ("drums", 1, 1, 9),
    }
    assert {(share.task, share.corpus, share.samples) for share in origin.shares} == {
        ("draw", "kites", 2),
        ("draw", "drums", 1),
    }
    assert {use.task: (use.train, use.test, use.trained) for use in origin.tasks} == {
        "draw": (2, 0, True), "tell": (0, 1, True), "idle": (1, 0, False),
    }  # fmt: skip
    assert [parent["build_id"] for parent in found.trainings[0].parents] == ["build1"]


def test_weights_that_a_run_began_with_lead_on_to_their_own_run(catalog: Catalog) -> None:
    found = model_lineage(catalog)
    assert [(step.checkpoint_id, step.run["run_id"]) for step in found.trainings] == [
        (SECOND, "train-2"),
        (FIRST, "train-1"),
    ]


def test_a_work_that_several_builds_on_the_way_hold_counts_once(catalog: Catalog) -> None:
    one, both = model_lineage(catalog, FIRST), model_lineage(catalog, SECOND)
    assert {use.licence: (use.works, use.samples) for use in one.licences} == {"CC0-1.0": (2, 1), "CC-BY-4.0": (1, 1)}
    assert both.licences == one.licences


def test_decisions_and_evaluations_stand_beside_the_way(catalog: Catalog) -> None:
    found = model_lineage(catalog, SECOND)
    assert [line["metric"] for line in found.gates[0]["lines"]] == ["a", "b"] and found.gates[0]["promoted"]
    assert [figure["value"] for figure in found.evaluations[0]["metrics"]] == [0.5]
    assert model_lineage(catalog, FIRST).gates == found.gates and not model_lineage(catalog, FIRST).in_place


def test_a_checkpoint_is_found_by_what_names_it_alone(catalog: Catalog) -> None:
    assert model_lineage(catalog, "aab").checkpoint["checkpoint_id"] == SECOND
    assert model_lineage(catalog, f"/models/{FIRST}/").checkpoint["checkpoint_id"] == FIRST
    with pytest.raises(CatalogError, match="2 checkpoints begin with 'aa'"):
        model_lineage(catalog, "aa")
    with pytest.raises(CatalogError, match="no checkpoint 'zz'"):
        model_lineage(catalog, "zz")


def test_a_build_that_is_gone_ends_the_way_there(catalog: Catalog) -> None:
    found = model_lineage(catalog, "cccc")
    assert found.trainings[0].origin is None and found.trainings[0].run["build_id"] == "build0" and found.licences == []


def test_a_root_without_a_model_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no model is in place under .*codi2 retrain"):
        model_lineage(Catalog(str(tmp_path)))


def test_weights_from_elsewhere_have_no_way_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Writer(store, "put", "deployment") as writer:
        writer.append(
            "deployments", [{"name": "default", "checkpoint_id": "foreign", "uri": "/there", "since": "2026"}]
        )
    found = model_lineage(Catalog(store))
    assert found.in_place and found.trainings == [] and found.checkpoint["uri"] == "/there"


def test_weights_that_begin_with_themselves_end_the_way(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    train(store, "train-a", "a" * 16, "nothing", "b" * 16, "2026-01-01")
    train(store, "train-b", "b" * 16, "nothing", "a" * 16, "2026-01-02")
    found = model_lineage(Catalog(store), "a" * 16)
    assert [training.run["run_id"] for training in found.trainings] == ["train-a", "train-b"]


def test_what_two_builds_hold_is_counted_as_one_set() -> None:
    one = pa.table({"kind": ["work", "sample"], "id": ["k1", "s1"], "licence": ["MIT", "MIT"]})
    other = pa.table({"kind": ["work", "work", "work"], "id": ["k1", "k2", "d1"], "licence": ["MIT", "MIT", "CC0-1.0"]})
    assert counted(one, other) == [LicenceUse("MIT", 2, 1), LicenceUse("CC0-1.0", 1, 0)]
    assert counted() == []


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.dictionaries(st.text(max_size=4), st.integers())))
)
def test_a_config_of_any_form_names_tasks_or_none(config: dict) -> None:
    assert trained_tasks(json.dumps(config)) == []
    assert trained_tasks(json.dumps({**config, "last": {"steps": 1, "tasks": {"draw": 1}}})) == ["draw"]
