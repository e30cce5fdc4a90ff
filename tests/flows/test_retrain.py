"""The whole line as one flow: build, train, evaluate, promote; then generate with what was promoted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from codi2_datasets.sample import Sample
from codi2_datasets.sheets import read_samples
from codi2_flows.demo import demo_requests
from codi2_flows.generate_batch import generate_batch
from codi2_flows.retrain import gate, retrain
from codi2_model.checkpoints import promoted, resolve
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


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[str, dict]:
    folder = tmp_path_factory.mktemp("line")
    recipe = folder / "line.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    root = str(folder / "root")
    return root, retrain(str(recipe), "test", root, 2, 160)


def test_the_flow_leaves_a_promoted_model_with_metrics(line: tuple[str, dict]) -> None:
    root, summary = line
    assert summary["decision"].startswith("promoted")
    row = promoted(Store(root))
    assert row and row["checkpoint_id"] == summary["checkpoint id"]
    assert (resolve(root, None) / "config.json").is_file()
    assert Path(summary["page"]).is_file() and Path(summary["contact sheet"]).is_file()
    found = Catalog(root).sql("select kind, status from runs order by kind").to_pylist()
    assert {(row["kind"], row["status"]) for row in found} == {("train", "finished"), ("evaluation", "finished")}
    judged = Catalog(root).sql("select count(*) as n from metrics where baseline = 'chance'").to_pylist()
    assert judged[0]["n"] > 0


def test_an_equal_model_is_not_promoted_again(line: tuple[str, dict]) -> None:
    root, summary = line
    decision = gate(Store(root), summary["checkpoint id"], summary["checkpoint"], summary["metrics"], summary["build"])
    assert decision.startswith("kept")


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
