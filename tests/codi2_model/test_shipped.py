"""The shipped weights: used by roots without a promoted model, size, generation."""

from __future__ import annotations

import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.checkpoints.registry import SHIPPED, checkpoint_folder, name_of_folder, resolve, resolve_named

pytestmark = pytest.mark.skipif(not (SHIPPED / "config.json").is_file(), reason="this copy comes without weights")


def test_a_root_without_a_promoted_model_falls_back_on_them(tmp_path):
    assert resolve(str(tmp_path), None) == SHIPPED


def test_shipped_names_them_wherever_a_checkpoint_is_named(tmp_path):
    for name in ("shipped", None, str(SHIPPED)):
        result = resolve_named(str(tmp_path), name)
        assert (result.folder, result.name) == (SHIPPED, "shipped")
    assert checkpoint_folder("shipped") == SHIPPED and name_of_folder(SHIPPED) == "shipped"


def test_they_are_small_and_no_file_is_above_20_mb():
    sizes = [path.stat().st_size for path in SHIPPED.iterdir()]
    assert max(sizes) <= 20_000_000 and sum(sizes) <= 150_000_000


def test_they_load_in_float32_and_answer_in_every_modality():
    model = CoDi2ForConditionalGeneration.from_pretrained(SHIPPED).eval()
    processor = CoDi2Processor.from_pretrained(SHIPPED)
    assert next(model.parameters()).dtype == torch.float32
    talk = [{"role": "user", "content": "Draw a red apple."}]
    for modality in model.config.modalities:
        reply = model.generate(processor, [talk], modalities=(modality,), steps=2)[0]
        assert [part["type"] for part in reply] == [modality]
