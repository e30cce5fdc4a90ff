"""Model configuration: presets, overrides, validation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from codi2_model import CoDi2Config
from codi2_model.options import DecoderOptions, PipelineOptions, TransformerOptions


@pytest.mark.parametrize("name", ["tiny", "small", "gpu", "paper"])
def test_a_preset_survives_saving_and_loading(name, tmp_path):
    config = CoDi2Config.preset(name)
    config.save_pretrained(tmp_path)
    again = CoDi2Config.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    kinds = {"tiny": DecoderOptions, "paper": PipelineOptions}
    assert isinstance(again.image_decoder, kinds.get(name, TransformerOptions))
    assert again.image_decoder == config.image_decoder


def test_the_default_is_the_tiny_preset():
    assert CoDi2Config().to_dict() == CoDi2Config.preset("tiny").to_dict()


def test_overrides_replace_fields_and_merge_into_nested_ones():
    config = CoDi2Config.preset("tiny", feature_dim=64, llm={"num_hidden_layers": 1}, loss_weights={"diffusion": 0})
    assert (config.feature_dim, config.llm["num_hidden_layers"], config.llm["hidden_size"]) == (64, 1, 192)
    assert (config.loss_weights.diffusion, config.loss_weights.tokens) == (0, 1.0)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"hiden": 3}, "hiden"),
        ({"audio": {"mel": 3}}, "audio.mel"),
        ({"image_size": 33}, "image_encoder"),
        ({"audio_encoder": {"width": 30}}, "audio_encoder"),
        (
            {"image_decoder": {"prediction_type": "x"}},
            "image_decoder.prediction_type: expected 'sample', 'v_prediction' or 'epsilon', found str 'x'",
        ),
        ({"audio": {"n_fft": 512}}, "n_fft 512"),
        ({"loss_weights": {"tokens": -1}}, "tokens"),
        ({"vocab_size": 8}, "vocab_size 8"),
        ({"feature_tokens": 0}, "feature_tokens"),
        ({"vocab_size": 14, "parallel_slots": True, "feature_tokens": 4}, "vocab_size 14 is too small"),
        (
            {"image_decoder": {"kind": "transformer", "patch": [8, 5]}},
            r"image_decoder\.patch \(8, 5\) does not divide the sides \(32, 32\)",
        ),
        ({"image_decoder": {"kind": "transformer", "patch": [8, 8], "heads": 7}}, "not a multiple of heads 7"),
        ({"image_decoder": {"kind": "unknown"}}, "decoder kind 'unknown'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_by_name(overrides, named):
    with pytest.raises(ValueError, match=named):
        CoDi2Config.preset("tiny", **overrides)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="'huge'; available: gpu, paper, small, tiny"):
        CoDi2Config.preset("huge")


def test_importing_the_package_loads_neither_torch_nor_transformers():
    code = "import sys, codi2_model; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
