"""Scores of generated replies, and the preference pairs that are made of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import datasets
from codi2_datasets.exports import Loss, Reading, formats
from codi2_datasets.exports.webdataset import read_tar, write_tar
from codi2_model.evaluation.bench.generated import score_generations
from codi2_model.evaluation.data import EvaluationError
from codi2_model.serving.batch.generate_batch import generate_requests
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

REPLIES = 3


@pytest.fixture(scope="module")
def generated(
    build_root: str, checkpoint: Path, other_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A root with three replies, of three seeds and two models, to two prompts for images and two for captions."""
    root = tmp_path_factory.mktemp("generated") / "root"
    shutil.copytree(build_root, root)
    shards = [shard for shard in sorted(root.rglob("*.tar")) if "train" in str(shard)]
    wanted = [next(s for s in shards if task in str(s)) for task in ("text_to_image", "image_captioning")]
    asked = [item for shard in wanted for item in list(read_tar(str(shard), shard.name))[:2]]
    write_tar(root / "requests.tar", asked)
    for seed, model in enumerate((checkpoint, checkpoint, other_checkpoint)):
        generate_requests(str(root / "requests.tar"), str(root / f"out{seed}"), str(model), str(root), seed=seed)
    return str(root)


def test_each_reply_is_scored_against_the_true_one_and_the_best_and_the_worst_are_a_pair(
    generated: str, tmp_path: Path
) -> None:
    dpo = formats()["dpo"]
    assert dpo.source is not None
    unscored = dpo.write(dpo.source(Catalog(generated), "b1"), Store(tmp_path / "none"))
    assert unscored.left_out == {"a reply without a score": 4 * REPLIES}
    assert score_generations(generated) == 4 * REPLIES
    scores = Catalog(generated).sql("select * from scores where suite = 'generations'", all_builds=True).to_pylist()
    assert {row["metric"] for row in scores} >= {"similarity", "shape_iou", "soft_match", "token_f1"}

    out = Store(tmp_path / "out")
    loss = dpo.write(dpo.source(Catalog(generated), "b1"), out)
    assert loss.written + loss.left_out.total() == 4 * REPLIES
    assert loss.written >= 4 and loss.left_out["neither the best reply nor the worst"] == loss.written // 2
    back = list(dpo.read(out, Reading(), Loss()))
    known = {item.sample.sample_id: item for item in dpo.source(Catalog(generated), "b1")}
    assert len(back) == loss.written and all(item == known[item.sample.sample_id] for item in back)

    rows = datasets.load_dataset(
        "parquet", data_files=f"{tmp_path}/out/train-*.parquet", cache_dir=str(tmp_path / "hf")
    )
    pairs: list[dict[str, Any]] = list(rows["train"])
    assert len(pairs) == loss.written // 2
    for row in pairs:  # TRL's columns of a conversational preference dataset
        assert [message["role"] for message in row["prompt"]] == ["user"]
        assert [row[name][0]["role"] for name in ("chosen", "rejected")] == ["assistant", "assistant"]
        assert row["score_chosen"] > row["score_rejected"]
        shown = sum(part["type"] == "image" for message in row["prompt"] for part in message["content"])
        assert shown == len(row["images"])
    made = next(row for row in pairs if row["chosen"][0]["content"][0]["type"] == "image")
    assert made["chosen_media"][0]["bytes"] != made["rejected_media"][0]["bytes"]


def test_replies_to_no_sample_of_the_build_are_an_error_that_says_what_to_do(build_root: str) -> None:
    with pytest.raises(EvaluationError, match="generate from its shards"):
        score_generations(build_root)


def test_a_preference_set_of_others_becomes_its_chosen_conversations(tmp_path: Path) -> None:
    prompt, good, bad = ([{"role": role, "content": text}] for role, text in
                         (("user", "Sky?"), ("assistant", "Blue."), ("assistant", "Square.")))  # fmt: skip
    rows = datasets.Dataset.from_list([{"prompt": prompt, "chosen": good, "rejected": bad}])
    rows.to_parquet(tmp_path / "train-00000.parquet")
    loss = Loss()
    (item,) = formats()["dpo"].read(Store(tmp_path), Reading("text_instruction"), loss)
    assert [(part.text, part.target) for part in item.sample.parts()] == [("Sky?", False), ("Blue.", True)]
    assert loss.lost["rejected reply"] == 1
