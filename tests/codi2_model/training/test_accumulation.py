"""The gradient of a step does not depend on micro-batches, workers or packing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.data.mixture import Loader, Mixture
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.loop import Runtime, backward, seed_step, thaw
from codi2_model.training.metrics.meter import Meter
from codi2_model.training.run import STAGE_FACTORIES

Step = tuple[torch.Tensor, dict[str, float]]


@pytest.fixture(scope="module")
def mixed(config: TrainConfig) -> TrainConfig:
    """Text, images and audio in a step of 8 samples, with short and long replies and all losses."""
    tasks = {"text_to_image": 1.0, "text_to_audio": 1.0, "text_instruction": 2.0, "exemplar_learning": 1.0}
    return replace(
        config,
        decoders=replace(config.decoders, batch_size=8),
        mllm=replace(config.mllm, batch_size=8, tasks=tasks, diffusion_every=1),
    )


def gradient(config: TrainConfig, name: str, shards: list[str], start: Path, accumulation: int, world: int) -> Step:
    """Mean gradient and mean losses over the workers, computed one after the other."""
    model, processor = CoDi2ForConditionalGeneration.from_pretrained(start), CoDi2Processor.from_pretrained(start)
    table, options, runtime = ShardSet(shards), config.stage(name), Runtime(torch.device("cpu"))
    stage = STAGE_FACTORIES[name](model, processor, table, MediaCache(table, processor.medium, 100), config, runtime)
    parameters = thaw(stage, model)
    losses: dict[str, float] = {}
    for rank in range(world):
        mixture = Mixture(stage.source.sizes, options.tasks, config.seed)
        micro = options.batch_size // accumulation
        loader = Loader(mixture, stage.source.load, micro, rank, world, 0, stage.length)
        seed_step(config.seed, name, 0, rank)
        seen = backward(stage, loader, accumulation, 0, runtime, Meter(0))
        losses = {loss: losses.get(loss, 0.0) + value / world for loss, value in seen.items()}
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad / world).flatten() for p in parameters]
    ), losses


@pytest.mark.parametrize(("stage", "packed"), [("decoders", False), ("mllm", False), ("mllm", True)])
def test_accumulation_and_workers_change_neither_the_gradient_nor_the_losses(
    stage: str, packed: bool, mixed: TrainConfig, shards: list[str], whole_run: Path
) -> None:
    config = replace(mixed, mllm=replace(mixed.mllm, packed=packed))
    start = whole_run / "final"
    expected, losses = gradient(config, stage, shards, start, 1, 1)
    assert float(expected.norm()) > 0.01
    names = {"image", "audio"} if stage == "decoders" else {"tokens", "feature_cosine", "feature_mse", "diffusion"}
    assert losses.keys() == {*names, "loss"}
    for accumulation, world in ((2, 1), (4, 1), (1, 2), (2, 2)):
        result, others = gradient(config, stage, shards, start, accumulation, world)
        assert float((result - expected).norm() / expected.norm()) < 1e-5, (accumulation, world)
        assert others == pytest.approx(losses, rel=1e-5)


def test_contrast_within_micro_batches_is_refused(config: TrainConfig) -> None:
    values = config.to_dict()
    values["align"]["accumulation"] = 2
    with pytest.raises(ConfigError, match=r"mine\.yaml: align\.accumulation must be 1"):
        TrainConfig.from_dict(values, "mine.yaml")
