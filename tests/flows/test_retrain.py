"""The whole line as one flow: build, train, evaluate, promote what is better; then generate with what was promoted."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from codi2_datasets.formats.sample import Sample
from codi2_datasets.publishing.contact_sheets import read_samples
from codi2_flows.cli.demo import demo_requests
from codi2_flows.generate_batch import generate_batch
from codi2_flows.retrain import retrain
from codi2_flows.runtime.checks import check_retrain
from codi2_model.checkpoints.lineage import model_lineage
from codi2_model.checkpoints.lookup import find_trained
from codi2_model.checkpoints.registry import deployments, promote, promoted, resolve, roll_back
from codi2_model.evaluation.gate import Gate
from codi2_model.training.config import TrainConfig
from codi2_model.training.pipeline_stage import TrainRequest, train_and_record
from codi2_model.training.reproduce import compare_checkpoints
from codi2_model.training.run import train
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.errors import UsageError
from codi2_storage.gc.collector import plan
from codi2_storage.gc.retention import Policy
from codi2_storage.store import Store
from codi2_storage.tables import TABLES

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
    "metric": ["similarity"],
    "guard": ["answered"],
}  # what tells models apart that have learnt next to nothing


def short(seed: int) -> dict[str, Any]:
    """The test config with a single step of each stage."""
    config = TrainConfig.from_yaml("test").to_dict()
    for name in ("align", "decoders", "mllm"):
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
    assert Path(summary["page"]).is_file()
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
    assert {row["metric"]: row["role"] for row in rows} == {"similarity": "chosen", "answered": "guard"}
    assert {(row["candidate"], row["champion"]) for row in rows} == {(summary["checkpoint id"], first["checkpoint id"])}
    assert all(row["passed"] and row["n"] > 50 for row in rows)


def test_an_equal_model_is_not_promoted_again_and_nothing_is_done_twice(line: tuple[str, dict], given: Path) -> None:
    root, summary = line
    before = deployments(Store(root))
    again = retrain(str(given / "line.yaml"), "test", root, 2, 160, train_workers=2, **TWO)
    assert again["decision"] == "not promoted: this model is promoted already"
    assert again["metrics"] == summary["metrics"] and deployments(Store(root)) == before
    kinds = [row["kind"] for row in Catalog(root).sql("select kind from runs").to_pylist()]
    assert kinds.count("train") == 2 and kinds.count("evaluation") == 2 * len(RECIPE["tasks"])


def test_a_worse_model_is_not_promoted_and_the_reason_gives_the_figures(line: tuple[str, dict], given: Path) -> None:
    root, summary = line
    worse = retrain(str(given / "line.yaml"), str(given / "short.yaml"), root, 2, 160, **TWO)
    assert worse["decision"].startswith("not promoted: similarity 0.")
    assert worse["decision"].endswith(f"not better than {summary['checkpoint id']}")
    row = promoted(Store(root))
    assert row and row["checkpoint_id"] == summary["checkpoint id"]
    found = Catalog(root).sql("select promoted, passed from gates where champion = ?", [summary["checkpoint id"]])
    assert {(row["promoted"], row["passed"]) for row in found.to_pylist()} >= {(False, False)}


def test_what_is_asked_for_wrongly_stops_it_before_any_work(given: Path, tmp_path: Path) -> None:
    recipe = str(given / "line.yaml")
    with pytest.raises(UsageError, match="no such metric"):
        check_retrain(str(tmp_path / "root"), recipe, "test", "scratch", Gate(metrics=("accuracy",)))
    with pytest.raises(UsageError, match="neither a checkpoint folder"):
        check_retrain(str(tmp_path / "root"), recipe, "test", "0123456789abcdef", Gate())
    promote(Store(tmp_path / "root"), "0123456789abcdef", str(tmp_path / "gone"), "first")
    with pytest.raises(UsageError, match=r"promoted model .*codi2 rollback"):
        check_retrain(str(tmp_path / "root"), recipe, "test", "scratch", Gate())


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


@pytest.fixture
def moved(line: tuple[str, dict], tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A copy of the root at another place, and what was opened of the original meanwhile."""
    root, target = line[0], str(tmp_path / "two")
    shutil.copytree(root, target)
    WATCHED[root] = []
    yield target, WATCHED[root]
    del WATCHED[root]


WATCHED: dict[str, list[str]] = {}


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHED and event in ("open", "os.listdir", "os.scandir", "os.rename", "os.remove"):
        for root, seen in WATCHED.items():
            seen += [str(one) for one in arguments if isinstance(one, str) and f"{one}/".startswith(f"{root}/")]


sys.addaudithook(watch)


def test_nothing_in_a_root_says_where_it_lies(line: tuple[str, dict]) -> None:
    root = line[0]
    with Catalog(root).connect(all_builds=True) as connection:
        for table in TABLES:
            rows = connection.execute(f'select * from "{table}"').to_arrow_table().to_pylist()
            assert root not in str(rows), table
    named = [path for path in Path(root).rglob("*") if path.is_file() and root.encode() in path.read_bytes()]
    assert {path.relative_to(root).parts[0] for path in named} <= {"logs"}  # what runs said is told as it was said


def test_a_copied_root_is_used_by_itself_and_what_was_done_is_done(
    line: tuple[str, dict], first: dict, given: Path, moved: tuple[str, list[str]]
) -> None:
    (root, summary), (copy, opened) = line, moved
    store = Store(copy)
    assert resolve(copy, None) == Path(copy) / Path(summary["checkpoint"]).relative_to(root)
    assert train_and_record(TrainRequest("test", copy, summary["build"])).startswith(f"{copy}/runs/")
    again = retrain(str(given / "line.yaml"), "test", copy, 2, 160, train_workers=2, **TWO)
    assert again["decision"] == "not promoted: this model is promoted already"
    assert again["page"] == summary["page"].replace(root, copy) and Path(again["page"]).is_file()
    assert again["metrics"] == summary["metrics"]
    found = model_lineage(Catalog(copy))
    assert found.checkpoint["uri"].startswith(copy) and found.trainings[0].run["uri"].startswith(copy)
    stored = Catalog(copy).sql("select uri from checkpoints where checkpoint_id = ?", [summary["checkpoint id"]])
    named = str(stored.to_pylist()[0]["uri"])
    for name in (named, f"{copy}/{named}", summary["checkpoint id"]):
        assert model_lineage(Catalog(copy), name).checkpoint["checkpoint_id"] == summary["checkpoint id"]
        assert resolve(copy, name) == Path(copy) / named
        trained = find_trained(store, name)
        assert not any(one.different for one in compare_checkpoints(trained, Path(copy) / named))
    going = plan(store, Policy(keep=9, models=9, grace=0)).table()
    assert {line["kind"] for line in going} == {"manifest"}  # of rows that others took the place of
    assert roll_back(store)["uri"] == first["checkpoint"].replace(root, copy)
    assert opened == []
    done = "select kind, count(*) as n from runs where kind in ('train', 'evaluation') group by kind order by kind"
    assert Catalog(copy).sql(done).to_pylist() == Catalog(root).sql(done).to_pylist()
    assert promoted(Store(root))["checkpoint_id"] == summary["checkpoint id"]  # type: ignore[index]


def test_a_copied_root_trains_on_from_its_own_champion_also_through_a_link(
    given: Path, moved: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, opened = moved
    link = f"{copy}-link"
    Path(link).symlink_to(copy)

    def here(config: TrainConfig, shards: list[str], out: Path, workers: int, on_metrics: Any, start: Path) -> Path:
        return train(config, shards, out.resolve(), quiet=True, start=start)  # here, where what is opened is seen

    monkeypatch.setattr("codi2_model.training.ray_train.train_distributed", here)
    made = train_and_record(TrainRequest(str(given / "short.yaml"), link, start="champion"))
    assert made.startswith(f"{link}/runs/") and (Path(made) / "config.json").is_file()
    again = train_and_record(TrainRequest(str(given / "short.yaml"), copy, start="champion"))
    assert again == made.replace(link, copy) and opened == []
    files = [path for path in Path(made).parent.rglob("*") if path.is_file()]
    assert not [path for path in files if copy.encode() in path.read_bytes()]
    shutil.rmtree(made)  # left out of the copy, say
    assert train_and_record(TrainRequest(str(given / "short.yaml"), copy, start="champion")) == again
    assert (Path(made) / "config.json").is_file()
