"""Defects of the official code (see docs/model.md): each test shows that this code does not have one of them."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import codi2_model
from codi2_model.encoders.imagebind import ImageBind, ImageBindOptions, load_official

PROJECTION = "modality_heads.audio.2.weight"


def test_1_features_of_every_modality_come_out_and_inference_runs(model, processor, parts):
    for modality, value in [("image", parts.picture()), ("audio", parts.sound()), ("video", parts.clip())]:
        features = model.encoders.encode(modality, processor.medium(modality, value)[None])
        assert features.shape == (1, model.config.feature_dim) and features.isfinite().all()
    words = model.encoders.encode_text(*processor.encode_captions(["a red dog"]))
    assert words.shape == (1, model.config.feature_dim)
    reply = model.generate(processor, [[parts.user(parts.text("Draw."))]], force=("text", "video", "audio"), steps=2)
    assert [part["type"] for part in reply[0]][-2:] == ["video", "audio"]


def test_2_one_batch_mixes_modalities(model, processor, mixed):
    output = model(**processor(mixed, training=True))
    assert {m: len(f) for m, f in output.predicted.items()} == {"image": 9, "audio": 4, "video": 1}
    assert output.loss.isfinite()


def test_3_slots_and_features_that_differ_in_number_are_an_error_that_names_the_sample(model, processor, mixed):
    batch = processor(mixed, training=True, sample_ids=list("abcdef"))
    batch["input_ids"][1][batch["input_ids"][1] == model.config.slot_id] = 99
    with pytest.raises(ValueError, match="sample b: 0 feature slots and 2 features"):
        model(**batch)


@torch.no_grad()
def test_4_generated_features_are_fed_back_as_given_ones_are(model, processor, parts):
    """The tokens after a generated image equal those after the same feature in a training batch."""
    from codi2_model.generation.decode_loop import Writer
    from codi2_model.generation.events import Options

    talk = [parts.user(parts.text("Draw a dog."))]
    writer = Writer(model, processor, [talk], Options(force=("image", "text"), max_new_tokens=3), [0])
    for _ in writer.write():
        pass
    medium, words = writer.replies[0].parts[0], writer.replies[0].parts[1]
    whole = [*talk, parts.assistant(parts.image("red"), parts.text(processor.decode(words)))]
    batch = processor([whole], training=True)
    fed = model(**batch, features={"image": torch.stack(medium.features)[None]}, return_logits=True).logits[0]
    other = model(**batch, return_logits=True).logits[0]  # the feature of a red disc instead
    start = int(batch["image_position"][0]) + 2
    assert fed[start - 1].isfinite().all() and not torch.allclose(fed[start - 1], other[start - 1])
    chosen = fed[start - 1].clone()
    chosen[processor.tokenizer.all_special_ids] = -torch.inf
    chosen[len(processor.tokenizer) :] = -torch.inf
    assert int(chosen.argmax()) == words[0]


def test_5_training_and_inference_tokenize_alike(processor, mixed):
    for talk in mixed:
        trained = processor([talk], training=True)["input_ids"][0].tolist()
        prompted = processor([talk[:1]])["input_ids"][0].tolist()
        assert trained[: len(prompted)] == prompted


def test_6_media_are_in_one_range_all_the_way(model, processor, parts):
    white = processor.image(Image.new("RGB", (8, 8), "white"))
    black = processor.image(Image.new("RGB", (8, 8), "black"))
    assert (white == 1).all() and (black == -1).all()
    features = torch.randn(1, 1, model.config.feature_dim)
    for decoder in model.decoders.values():
        generated = decoder.sample(features, steps=1)
        assert generated.min() >= 0 and generated.max() <= 1
        with pytest.raises(ValueError, match=r"expected \[-1, 1\]"):
            decoder.loss(features, torch.full((1, *decoder.shape), 255.0))


def test_7_a_reply_holds_several_media_and_errors_are_raised(model, processor, parts):
    talk = [parts.user(parts.text("Draw a dog, its voice and how it runs."))]
    reply = model.generate(processor, [talk], force=("image", "audio", "text", "image"), max_new_tokens=2, steps=1)[0]
    assert [part["type"] for part in reply if part["type"] != "text"] == ["image", "audio", "image"]
    with pytest.raises(ValueError, match="audio has no samples"):
        model.generate(processor, [[parts.user({"type": "audio", "value": np.zeros(0, np.float32)})]])


def test_8_pins_are_of_today_and_no_debugger_is_imported():
    debuggers = {"pdb", "ipdb", "pudb", "debugpy", "IPython", "rpdb", "bdb"}
    result = set()
    for path in Path(codi2_model.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            result |= {name.split(".")[0] for name in names}
    assert not result & debuggers
    assert int(importlib.metadata.version("transformers").split(".")[0]) >= 5


def test_9_no_layer_of_imagebind_stays_random_whichever_published_names_its_file_has():
    """The audio head of the official copy has one more layer than Meta's; its loading was not strict and skipped it."""
    sizes = {"vision": {"width": 32, "depth": 1, "heads": 4}, "audio": {"width": 16, "depth": 1, "heads": 2}}
    options = ImageBindOptions.from_dict({"out_dim": 24, "trunks": ["vision", "audio"], **sizes})
    metas = ImageBind(options).state_dict()
    officials = {key.replace("heads.audio.2", "heads.audio.3"): value for key, value in metas.items()}
    assert officials.keys() != metas.keys()
    for weights in (metas, officials):
        assert torch.equal(load_official(weights, options).modality_heads["audio"][2].weight, metas[PROJECTION])
    for damaged in ({**metas, "modality_heads.audio.4.weight": metas[PROJECTION]}, {**metas, PROJECTION: None}):
        weights = {key: value for key, value in damaged.items() if value is not None}
        with pytest.raises(ValueError, match=r"modality_heads\.audio\.[24]\.weight is (unknown|missing)"):
            load_official(weights, options)
