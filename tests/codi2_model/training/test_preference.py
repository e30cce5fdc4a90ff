"""The stage `preference`: it starts at the reference model, learns the pairs, and resumes to the bit."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from codi2_datasets.exports import dpo
from codi2_datasets.exports.base import Item
from codi2_datasets.exports.webdataset import read_tar
from codi2_datasets.formats.sample import Message
from codi2_model.training import checkpoint
from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.metrics.journal import Row
from codi2_model.training.run import train
from codi2_model.training.stages import preference
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

from .conftest import curve, weights

TASKS = ("text_to_image", "image_captioning")
PAIRS_PER_TASK = 4


@pytest.fixture(scope="session")
def pairs(shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of pairs: the true reply to a prompt is chosen, that of the next sample rejected."""
    folder, rated = tmp_path_factory.mktemp("pairs"), list[Item]()
    for shard in shards:
        items = [item for item in read_tar(shard, shard) if item.sample.task in TASKS][: PAIRS_PER_TASK + 1]
        for number, (item, other) in enumerate(pairwise(items)):
            rated += [scored(item, item, number, 1.0), scored(item, other, number, 0.0)]
    dpo.write(rated, Store(folder))
    return folder


def scored(prompt: Item, reply: Item, number: int, score: float) -> Item:
    """The prompt's conversation with the reply of another one, whose media get names of their own."""
    sample, names = prompt.sample, {name: f"9{name}" for name in reply.media}
    content = tuple(
        replace(part, part=names[part.part] if part.part else None) for part in reply.sample.messages[-1].content
    )
    messages = (*sample.messages[:-1], Message("assistant", content))
    media = {**prompt.media, **{names[name]: data for name, data in reply.media.items()}}
    used = {part.part for message in messages for part in message.content}
    meta = {"request_id": f"{sample.task}-{number}", dpo.SCORE: score}
    new = replace(sample, sample_id=f"{sample.sample_id}-{score:.0f}", messages=messages, meta=meta)
    return Item(new, {name: data for name, data in media.items() if name in used})


@pytest.fixture(scope="session")
def preferring(config: TrainConfig, pairs: Path) -> TrainConfig:
    """The stage alone, on all pairs in every step."""
    stage = replace(
        config.preference, steps=12, batch_size=8, lr=2e-3, tasks=dict.fromkeys(TASKS, 1.0), pairs=str(pairs), noises=1,
        checkpoint_every=4,
    )  # fmt: skip
    off = {name: replace(config.stage(name), steps=0) for name in ("align", "decoders", "mllm")}
    return replace(config, **off, preference=stage)


@pytest.fixture(scope="session")
def preferred(
    preferring: TrainConfig, whole_run: Path, shards: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("preferred")
    train(preferring, shards, out, quiet=True, start=whole_run / "final")
    return out


def test_it_starts_at_the_reference_model_and_learns_to_prefer_the_chosen_replies(preferred: Path) -> None:
    rows = curve(preferred)
    steps = [row for row in rows if row["split"] == "train"]
    assert [(row["stage"], row["step"]) for row in steps] == [("preference", n) for n in range(1, 13)]
    assert steps[0]["preference"] == pytest.approx(math.log(2), rel=1e-4)  # no difference to the reference yet
    assert steps[-1]["preference"] < 0.95 * math.log(2) and steps[-1]["accuracy"] >= 0.75
    assert {"preference", "accuracy"} <= set(next(row for row in rows if row["split"] == "validation"))
    assert checkpoint.load_progress(preferred / "final").stage == "preference"


def test_media_count_by_their_own_beta(
    preferring: TrainConfig, whole_run: Path, shards: list[str], tmp_path: Path
) -> None:
    last = {}
    for task in TASKS:
        stage = replace(preferring.preference, steps=6, tasks={task: 1.0}, beta=0.0)
        out = tmp_path / task
        train(replace(preferring, preference=stage), shards, out, quiet=True, start=whole_run / "final")
        last[task] = [row["preference"] for row in curve(out) if row["split"] == "train"][-1]
    assert last["text_to_image"] < 0.97 * math.log(2)
    assert last["image_captioning"] == pytest.approx(math.log(2))  # no medium in these replies


def test_a_stopped_stage_goes_on_to_the_bit_with_the_reference_losses_of_its_start(
    preferring: TrainConfig,
    preferred: Path,
    whole_run: Path,
    shards: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(row: Row) -> None:
        if row["step"] == 6:
            raise InterruptedError

    start = whole_run / "final"
    with pytest.raises(InterruptedError):
        train(preferring, shards, tmp_path, quiet=True, start=start, on_metrics=stop)
    monkeypatch.setattr(preference, "reference_losses", None)  # they must not be computed from the trained weights
    train(preferring, shards, tmp_path, quiet=True, start=start)
    assert curve(tmp_path) == curve(preferred) and weights(tmp_path) == weights(preferred)


def test_a_folder_without_pairs_is_named(
    preferring: TrainConfig, whole_run: Path, shards: list[str], tmp_path: Path
) -> None:
    stage = replace(preferring.preference, pairs=str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"preference\.pairs: .*none holds no export; write one with"):
        train(replace(preferring, preference=stage), shards, tmp_path / "out", quiet=True, start=whole_run / "final")


def test_a_stage_that_is_off_changes_no_run_and_one_without_pairs_is_refused(config: TrainConfig) -> None:
    assert "preference" not in config.to_dict()
    data = {**config.to_dict(), "preference": {"steps": 1, "tasks": {"text_to_image": 1}}}
    with pytest.raises(ConfigError, match=r"preference\.pairs must name an export in the format dpo"):
        TrainConfig.from_dict(data)
    data["preference"]["pairs"] = "pairs"
    assert TrainConfig.from_dict(data).last_stage == "preference"
    with pytest.raises(ConfigError, match=r"preference\.steps must be 0 with parallel: fsdp"):
        TrainConfig.from_dict({**data, "parallel": "fsdp"})
