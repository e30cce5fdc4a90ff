"""The perceptual loss of the stage `decoders`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codi2_model.training.config import ConfigError, TrainConfig
from codi2_model.training.run import train

from .conftest import curve


@pytest.fixture
def drawing(config: TrainConfig) -> TrainConfig:
    """Two steps of a transformer decoder of images with the perceptual loss."""
    decoder = {"kind": "transformer", "patch": [8, 8], "width": 32, "depth": 1, "heads": 2}
    stage = replace(config.decoders, steps=2, checkpoint_every=0, eval_samples=0, perceptual=0.5)
    off = {name: replace(config.stage(name), steps=0) for name in ("align", "mllm")}
    return replace(config, **off, decoders=stage, model={**config.model, "image_decoder": decoder})


def test_it_is_logged_by_itself_and_does_not_depend_on_how_a_step_is_split(
    drawing: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    rows = []
    for accumulation in (1, 2):
        split = replace(drawing, decoders=replace(drawing.decoders, accumulation=accumulation))
        train(split, shards, tmp_path / str(accumulation), quiet=True)
        rows.append(curve(tmp_path / str(accumulation))[0])
    whole, halves = rows
    assert whole["image_perceptual"] > 0
    assert halves["image_perceptual"] == pytest.approx(whole["image_perceptual"], rel=1e-3)
    assert whole["loss"] == pytest.approx(whole["image"] + whole["audio"] + 0.5 * whole["image_perceptual"], rel=1e-4)


def test_a_decoder_that_does_not_predict_clean_images_is_refused(
    drawing: TrainConfig, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"decoders\.perceptual: needs an image decoder of kind transformer"):
        train(replace(drawing, model=config.model), shards, tmp_path, quiet=True)
