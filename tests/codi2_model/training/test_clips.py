"""Training with videos in all three stages."""

from __future__ import annotations

from dataclasses import replace

import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training.metrics.journal import read_rows
from codi2_model.training.run import train
from tests.codi2_model.shards import WITH_CLIPS, write_shards


def test_a_model_of_clips_trains_in_all_stages_and_makes_one(config, tmp_path):
    shards = write_shards(tmp_path / "data", tasks=("text_to_image", "text_to_video"), train=16, held_out=4)
    assert "text_to_video" in WITH_CLIPS
    tasks = {"text_to_image": 1.0, "text_to_video": 2.0}
    small = {
        **config.model,
        "modalities": ["image", "audio", "video"],
        "video": {"size": 32, "frames": 4, "fps": 4},
        "video_encoder": {"width": 32, "depth": 1, "heads": 2, "patch": 8},
        "video_decoder": {"patch": 4, "channels": [32, 32], "norm_groups": 8},
    }
    stages = {name: replace(config.stage(name), tasks=tasks, steps=2) for name in ("align", "decoders", "mllm")}
    out = train(replace(config, model=small, **stages), shards, tmp_path / "run", quiet=True)
    rows = [row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if row["split"] == "train"]
    assert {row["stage"] for row in rows if "video" in row} == {"align", "decoders"}
    assert all(row["diffusion"] > 0 for row in rows if row["stage"] == "mllm" and "diffusion" in row)
    model, processor = CoDi2ForConditionalGeneration.from_pretrained(out), CoDi2Processor.from_pretrained(out)
    with torch.no_grad():
        reply = model.generate(processor, [[{"role": "user", "content": "Move it."}]], modalities=("video",), steps=1)
    assert reply[0][0]["value"].shape == (8, 32, 32, 3)
