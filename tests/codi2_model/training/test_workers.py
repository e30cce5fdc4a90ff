"""Workers with batches of different modalities: gradients as in one process, with FSDP2 and without."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Loader, Mixture
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.loop import Runtime, backward, learning_rate, seed_step, thaw
from codi2_model.training.metrics.journal import read_rows
from codi2_model.training.metrics.meter import Meter
from codi2_model.training.optim.optimizers import make_optimizer
from codi2_model.training.run import STAGE_FACTORIES, train

from .worker import run_workers

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def mixed(config: TrainConfig) -> TrainConfig:
    """Four samples for two workers: with an image on one, audio or only text on the other."""
    tasks = {"text_to_image": 1.0, "text_to_audio": 1.0, "text_instruction": 1.0}
    return replace(
        config,
        keep_checkpoints=9,
        align=replace(config.align, steps=0),
        decoders=replace(config.decoders, steps=2, batch_size=4, checkpoint_every=0),
        mllm=replace(config.mllm, steps=3, batch_size=4, tasks=tasks, checkpoint_every=0),
    )


@pytest.fixture(scope="module")
def two(mixed: TrainConfig, shards: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("workers") / "two"
    run_workers(mixed, shards, out)
    return out


def weights_of(folder: Path) -> Weights:
    return CoDi2ForConditionalGeneration.from_pretrained(folder).state_dict()


def furthest(one: Weights, two: Weights) -> float:
    return max(float((value.float() - two[name].float()).abs().max()) for name, value in one.items())


def apart(one: Weights, two: Weights) -> float:
    """Distance of all weights together (L2). Adam divides gradients that are near zero by themselves: of single weights the
    last bits of a sum, which differ between processors, may decide."""
    return math.sqrt(sum(float((value.float() - two[name].float()).square().sum()) for name, value in one.items()))


def shares_in_turn(config: TrainConfig, shards: list[str], name: str, start: Path, world: int = 2) -> Weights:
    """The weights after a stage in one process, which computes the shares of all workers and their mean gradient."""
    model, processor = CoDi2ForConditionalGeneration.from_pretrained(start), CoDi2Processor.from_pretrained(start)
    table, options = ShardSet(shards), config.stage(name)
    cache, runtime = MediaCache(table, processor.medium, 100), Runtime(torch.device("cpu"))
    stage = STAGE_FACTORIES[name](model, processor, table, cache, config, runtime)
    parameters = thaw(stage, model)
    optimizer = make_optimizer(stage.modules, options, runtime.device)
    micro = options.batch_size // options.accumulation
    loaders = [
        Loader(
            Mixture(stage.source.sizes, options.tasks, config.seed),
            stage.source.load,
            micro,
            rank,
            world,
            0,
            stage.length,
        )
        for rank in range(world)
    ]
    for step in range(options.steps):
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, step)
        for rank, loader in enumerate(loaders):
            seed_step(config.seed, name, step, rank)
            backward(stage, loader, options.accumulation, step, runtime, Meter(0))
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad / world
        nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("decoders", "0-start", "2-decoders-0000002"), ("mllm", "2-decoders-0000002", "3-mllm-0000003")],
)
def test_workers_take_the_step_of_one_process_that_computes_all_shares(
    name: str, before: str, after: str, mixed: TrainConfig, two: Path, shards: list[str]
) -> None:
    start = two / "checkpoints" / before
    expected = shares_in_turn(mixed, shards, name, start)
    moved = furthest(weights_of(start), expected)
    assert furthest(weights_of(two / "checkpoints" / after), expected) < moved / 100


def test_fsdp_of_workers_whose_batches_differ_gives_what_plain_averaging_gives(
    mixed: TrainConfig, two: Path, shards: list[str], tmp_path: Path
) -> None:
    run_workers(replace(mixed, parallel="fsdp"), shards, tmp_path / "fsdp")
    moved = apart(weights_of(two / "checkpoints" / "2-decoders-0000002"), weights_of(two / "final"))
    off = apart(weights_of(tmp_path / "fsdp" / "final"), weights_of(two / "final"))
    assert off < moved / 1000, off / moved
    for left, right in zip(
        read_rows(two / "metrics.jsonl"), read_rows(tmp_path / "fsdp" / "metrics.jsonl"), strict=True
    ):
        for loss in {"tokens", "feature_cosine", "diffusion", "grad_norm"} & left.keys():
            assert right[loss] == pytest.approx(left[loss], rel=1e-3)


@pytest.fixture(scope="module")
def short(mixed: TrainConfig) -> TrainConfig:
    """Images only: for a modality without samples, gradients are zero with FSDP and absent in one process."""
    stage = replace(mixed.mllm, tasks={"text_to_image": 1.0}, ema=0.8, eval_samples=0)
    return replace(mixed, decoders=replace(mixed.decoders, steps=0), mllm=stage)


def both_ways(config: TrainConfig, shards: list[str], out: Path) -> float:
    """Distance of the weights with FSDP (one worker) and without it, relative to the change of the weights."""
    for parallel in ("ddp", "fsdp"):
        train(replace(config, parallel=parallel), shards, out / parallel, quiet=True)
    assert not torch.distributed.is_initialized()  # the group of one that FSDP needed is gone
    start, plain, sharded = (weights_of(out / path) for path in ("ddp/checkpoints/0-start", "ddp/final", "fsdp/final"))
    return furthest(plain, sharded) / furthest(start, plain)


def test_fsdp_of_one_worker_is_no_fsdp_also_where_the_average_is_validated(
    short: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    validated = replace(short, mllm=replace(short.mllm, eval_samples=6, eval_every=1))
    assert both_ways(validated, shards, tmp_path) < 0.02


def test_fsdp_in_bfloat16_keeps_its_shares_in_float32(short: TrainConfig, shards: list[str], tmp_path: Path) -> None:
    both_ways(replace(short, precision="bfloat16", gradient_checkpointing=True), shards, tmp_path)
    assert {v.dtype for v in weights_of(tmp_path / "fsdp" / "final").values() if v.is_floating_point()} == {
        torch.float32
    }
    left, right = (
        [row for row in read_rows(tmp_path / name / "metrics.jsonl") if row["split"] == "train"]
        for name in ("ddp", "fsdp")
    )
    for a, b in zip(left, right, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.02)


@pytest.mark.gpu
def test_a_gpu_computes_in_bfloat16_sharded_compiled_and_with_checkpointing(
    short: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    train(short, shards, tmp_path / "plain", quiet=True)
    spared = replace(short, parallel="fsdp", compile=True, gradient_checkpointing=True)
    train(spared, shards, tmp_path / "spared", quiet=True)
    left, right = (
        [row for row in read_rows(tmp_path / name / "metrics.jsonl") if row["split"] == "train"]
        for name in ("plain", "spared")
    )
    for a, b in zip(left, right, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.03)
