"""Two workers give the result of one, with DDP and FSDP; memory-saving options change nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from codi2_model.training.config import TrainConfig
from codi2_model.training.run import train

from .conftest import curve, kill_when, weights
from .worker import run_workers


@pytest.fixture(scope="module")
def later(config: TrainConfig) -> TrainConfig:
    """The later stages on images only, so that both workers have all losses; one step of each is compared."""
    tasks = {"image_editing": 1.0, "exemplar_learning": 1.0}
    return replace(
        config,
        align=replace(config.align, steps=0),
        decoders=replace(config.decoders, steps=2, tasks=tasks, checkpoint_every=0),
        mllm=replace(config.mllm, steps=2, tasks=tasks, checkpoint_every=0, accumulation=1),
    )


def furthest(one: Path, two: Path, prefix: str) -> float:
    left, right = (load_file(path / "final" / "model.safetensors") for path in (one, two))
    return max(float((left[k] - right[k]).abs().max()) for k in left if k.startswith(prefix))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_equal_one_that_accumulates(
    parallel: str, later: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    one = replace(later, mllm=replace(later.mllm, accumulation=2))
    train(one, shards, tmp_path / "one", quiet=True)
    run_workers(replace(later, parallel=parallel), shards, tmp_path / "two")
    assert furthest(tmp_path / "one", tmp_path / "two", "llm.") < 4e-4  # AdamW moved them by about 2 * lr = 4e-3
    assert furthest(tmp_path / "one", tmp_path / "two", "head.") < 4e-4
    left, right = curve(tmp_path / "one"), curve(tmp_path / "two")
    for a, b in zip(left, right, strict=True):
        assert {k: v for k, v in b.items() if isinstance(v, float)} == pytest.approx(
            {k: v for k, v in a.items() if isinstance(v, float)}, rel=1e-3
        )


def test_two_workers_train_decoders_and_the_whole_model_and_resume(
    later: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    """Losses are finite, weights are equal on both workers, and a run interrupted after the decoders ends equally."""
    run_workers(later, shards, tmp_path / "whole")
    rows = curve(tmp_path / "whole")
    assert {row["stage"] for row in rows} == {"decoders", "mllm"}
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "final")
    for path in (tmp_path / "cut" / "checkpoints").glob("3-*"):
        shutil.rmtree(path)
    run_workers(later, shards, tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert curve(tmp_path / "cut") == rows


def test_a_share_of_the_model_each_resumes_from_its_whole_checkpoint(
    later: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    config = replace(
        later, parallel="fsdp", decoders=replace(later.decoders, steps=0),
        mllm=replace(later.mllm, steps=3, checkpoint_every=2, ema=0.9),
    )  # fmt: skip
    run_workers(config, shards, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "final")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "3-mllm-0000003")
    run_workers(config, shards, tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_kills_in_the_middle_of_checkpoints_change_no_bit(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    """After several kills during the writing of a checkpoint, the run equals an uninterrupted one to the bit."""
    file, out = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(config.to_dict()))
    command = [str(file), "--shards", *shards, "--out", str(out)]
    kills = 0
    for expected in ("2-decoders", "3-mllm"):

        def half_written(expected: str = expected) -> bool:
            return bool(list((out / "checkpoints").glob(f".tmp-{expected}*")))

        kill_when(half_written, command)
        kills += half_written()  # as it was when the process died
        assert not (out / "final").exists()
    train(config, shards, out, quiet=True)
    assert kills > 0
    assert curve(out) == curve(whole_run)
    assert weights(out) == weights(whole_run)


@pytest.fixture(scope="module")
def short(later: TrainConfig) -> TrainConfig:
    return replace(later, decoders=replace(later.decoders, steps=0), mllm=replace(later.mllm, steps=1))


@pytest.fixture(scope="module")
def plain(short: TrainConfig, shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    train(short, shards, out, quiet=True)
    return out


def test_gradient_checkpointing_gives_the_same_step(
    short: TrainConfig, plain: Path, shards: list[str], tmp_path: Path
) -> None:
    train(replace(short, gradient_checkpointing=True), shards, tmp_path, quiet=True)
    assert furthest(plain, tmp_path, "llm.") < 1e-6


def test_bfloat16_trains_on_a_cpu_and_weights_stay_float32(
    short: TrainConfig, plain: Path, shards: list[str], tmp_path: Path
) -> None:
    train(replace(short, precision="bfloat16"), shards, tmp_path, quiet=True)
    kept = load_file(tmp_path / "final" / "model.safetensors")
    assert all(value.dtype != torch.bfloat16 for value in kept.values())
    a, b = (next(r["feature_cosine"] for r in curve(path) if r["split"] == "train") for path in (plain, tmp_path))
    assert b == pytest.approx(a, rel=0.02) and b != a


@pytest.mark.slow
def test_compiled_layers_give_the_same_step(short: TrainConfig, plain: Path, shards: list[str], tmp_path: Path) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler for torch.compile")
    train(replace(short, compile=True), shards, tmp_path, quiet=True)
    assert furthest(plain, tmp_path, "llm.") < 2e-4


def test_weights_come_in_several_files(short: TrainConfig, plain: Path, shards: list[str], tmp_path: Path) -> None:
    from codi2_model import CoDi2ForConditionalGeneration

    train(replace(short, shard_mb=1), shards, tmp_path, quiet=True)
    assert len(list((tmp_path / "final").glob("model-*.safetensors"))) > 1
    one, two = (CoDi2ForConditionalGeneration.from_pretrained(p / "final").state_dict() for p in (plain, tmp_path))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
