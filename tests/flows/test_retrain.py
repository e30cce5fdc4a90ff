"""The whole line as one flow: build, train, evaluate, promote what is better; then generate with what was promoted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from codi2_datasets.sample import Sample
from codi2_datasets.sheets import read_samples
from codi2_flows.demo import demo_requests
from codi2_flows.generate_batch import generate_batch
from codi2_flows.retrain import ready, retrain
from codi2_model.checkpoints import UsageError, deployments, promote, promoted, resolve
from codi2_model.evaluation.gate import Gate
from codi2_model.training.config import STAGES, TrainConfig
from codi2_storage.catalog import Catalog
from codi2_storage.store import Store

RECIPE = {
    "name": "line",
    "seed": 3,
    "corpora": [{"name": name} for name in ("emoji-noto", "emoji-twemoji", "emoji-fxemoji", "sonic-pi-samples", "chitchat")],
    "image": {"size": 32},
    "audio": {"max_seconds": 1.0},
    "splits": {"test_concepts": 0.15, "validation_concepts": 0.1},
    "tasks": {
        task: {"train": 48, "validation": 10, "test": 12}
        for task in (
            "text_to_image", "image_captioning", "image_editing", "exemplar_learning", "subject_driven",
            "text_to_audio", "audio_editing", "text_instruction",
        )
    },
}  # fmt: skip


TWO = {
    "metric": ["target_similarity"],
    "guard": ["answered"],
}  # what tells models apart that have learnt next to nothing


def short(seed: int) -> dict[str, Any]:
    """The test config with a single step of each stage."""
    config = TrainConfig.from_yaml("test").to_dict()
    for name in STAGES:
        config[name] |= {"steps": 1, "warmup": 0, "eval_samples": 0}
    return config | {"seed": seed}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a config that trains for a step."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "line.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "short.yaml").write_text(yaml.safe_dump(short(8)))
    return folder


@pytest.fixture(scope="module")
def first(given: Path, ray_cluster: None) -> dict:
    """What came of the first retraining, of a model that learnt nothing."""
    return retrain(str(given / "line.yaml"), str(given / "short.yaml"), str(given / "root"), 2, 160, **TWO)


@pytest.fixture(scope="module")
def line(given: Path, first: dict) -> tuple[str, dict]:
    """Root and outcome of the second, of a model that learnt a little from two workers."""
    root = str(given / "root")
    return root, retrain(str(given / "line.yaml"), "test", root, 2, 160, train_workers=2, **TWO)


def test_the_flow_leaves_a_promoted_model_with_metrics(line: tuple[str, dict]) -> None:
    root, summary = line
    assert summary["decision"].startswith("promoted")
    row = promoted(Store(root))
    assert row and row["checkpoint_id"] == summary["checkpoint id"]
    assert (resolve(root, None) / "config.json").is_file()
    assert Path(summary["page"]).is_file() and Path(summary["contact sheet"]).is_file()
    found = Catalog(root).sql("select kind, status from runs order by kind").to_pylist()
    assert {(row["kind"], row["status"]) for row in found} == {
        ("train", "finished"), ("evaluation", "finished"), ("retrain", "completed"),
    }  # fmt: skip
    judged = Catalog(root).sql("select count(*) as n from metrics where baseline = 'chance'").to_pylist()
    assert judged[0]["n"] > 0


def test_a_better_model_takes_the_place_of_the_first_and_the_decision_is_in_the_catalog(
    line: tuple[str, dict], first: dict
) -> None:
    root, summary = line
    assert first["decision"] == "promoted: the first model"
    assert f"better than {first['checkpoint id']}" in summary["decision"]
    assert summary["build"] == first["build"] and summary["checkpoint id"] != first["checkpoint id"]
    rows = Catalog(root).sql("select * from gates where champion is not null and promoted").to_pylist()
    assert {row["metric"]: row["role"] for row in rows} == {"target_similarity": "chosen", "answered": "guard"}
    assert {(row["candidate"], row["champion"]) for row in rows} == {(summary["checkpoint id"], first["checkpoint id"])}
    assert all(row["passed"] and row["n"] > 50 for row in rows)


def test_an_equal_model_is_not_promoted_again_and_nothing_is_done_twice(line: tuple[str, dict], given: Path) -> None:
    root, summary = line
    before = deployments(Store(root))
    again = retrain(str(given / "line.yaml"), "test", root, 2, 160, train_workers=2, **TWO)
    assert again["decision"] == "not promoted: this model is in place already"
    assert again["metrics"] == summary["metrics"] and deployments(Store(root)) == before
    kinds = [row["kind"] for row in Catalog(root).sql("select kind from runs").to_pylist()]
    assert kinds.count("train") == kinds.count("evaluation") == 2


def test_a_worse_model_is_not_promoted_and_the_reason_gives_the_figures(line: tuple[str, dict], given: Path) -> None:
    root, summary = line
    worse = retrain(str(given / "line.yaml"), str(given / "short.yaml"), root, 2, 160, **TWO)
    assert worse["decision"].startswith("not promoted: target_similarity 0.")
    assert worse["decision"].endswith(f"not better than {summary['checkpoint id']}")
    row = promoted(Store(root))
    assert row and row["checkpoint_id"] == summary["checkpoint id"]
    found = Catalog(root).sql("select promoted, passed from gates where champion = ?", [summary["checkpoint id"]])
    assert {(row["promoted"], row["passed"]) for row in found.to_pylist()} >= {(False, False)}


def test_what_is_asked_for_wrongly_stops_it_before_any_work(given: Path, tmp_path: Path) -> None:
    recipe = str(given / "line.yaml")
    with pytest.raises(UsageError, match="no such metric"):
        ready(str(tmp_path / "root"), recipe, "test", "scratch", Gate(metrics=("accuracy",)))
    with pytest.raises(UsageError, match="no checkpoint there"):
        ready(str(tmp_path / "root"), recipe, "test", "0123456789abcdef", Gate())
    promote(Store(tmp_path / "root"), "0123456789abcdef", str(tmp_path / "gone"), "first")
    with pytest.raises(UsageError, match=r"the model in place, is not at .*codi2 rollback"):
        ready(str(tmp_path / "root"), recipe, "test", "scratch", Gate())


def test_generation_is_resumable_and_lists_what_failed(line: tuple[str, dict], tmp_path: Path) -> None:
    root, summary = line
    requests = demo_requests(Store(root), summary["build"])
    with requests.open("a") as file:
        file.write('{"id": "bad", "messages": "none"}\n')
    page = generate_batch(str(requests), str(tmp_path / "out"), None, root)
    assert Path(page).is_file() and (tmp_path / "out" / "contact_sheet.png").is_file()
    found = Catalog(root).sql("select request_id, status, reason from generations order by request_id").to_pylist()
    assert {row["request_id"]: row["status"] for row in found}["bad"] == "failed"
    assert sum(row["status"] == "done" for row in found) == 5
    assert "bad" in (tmp_path / "out" / "failed.jsonl").read_text()
    shards = tmp_path / "out" / "shards"
    tars = {path.name: path.read_bytes() for path in shards.glob("*.tar")}
    receipt = next(shards.glob("*.json"))
    receipt.unlink()
    generate_batch(str(requests), str(tmp_path / "out"), None, root)
    assert receipt.exists() and {path.name: path.read_bytes() for path in shards.glob("*.tar")} == tars
    wanted = {json.loads(text)["id"]: json.loads(text)["modalities"] for text in requests.read_text().splitlines()[:-1]}
    made = {sample.meta["request_id"]: sample for sample, _ in samples_in(shards)}
    assert set(made) == set(wanted)
    for name, sample in made.items():
        if wanted[name] != ["text"]:  # a model this young may have no words
            assert set(wanted[name]) <= {part.type for part in sample.messages[-1].content}


def samples_in(shards: Path) -> list[tuple[Sample, dict[str, bytes]]]:
    return [found for path in sorted(shards.glob("*.tar")) for found in read_samples(path.read_bytes(), 100, 0)]


def test_a_changed_request_is_asked_anew(line: tuple[str, dict], tmp_path: Path) -> None:
    root, _ = line
    asked = tmp_path / "requests.jsonl"
    for colour in ("red", "green"):
        message = {"role": "user", "content": f"Draw a {colour} apple."}
        asked.write_text(json.dumps({"id": "apple", "messages": [message], "modalities": ["image"]}) + "\n")
        generate_batch(str(asked), str(tmp_path / "out"), None, root)
        [(sample, _)] = samples_in(tmp_path / "out" / "shards")
        assert colour in str(sample.messages[0].content[0].text)
