"""Generation of replies, feature prediction, and generation options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from codi2_model import CoDi2ForConditionalGeneration
from codi2_model.encoders import log_mel
from codi2_model.generation.conversations import (
    MediumBegun,
    MediumDone,
    Progress,
    TextDelta,
    generate,
    stream,
)
from codi2_model.generation.conversations import Options as GenerationOptions
from codi2_model.generation.decode_loop import Writer
from codi2_model.options import AudioOptions

QUICK = {"steps": 2, "max_new_tokens": 6}


def kinds(content):
    return [part["type"] for part in content]


def equal(one, two):
    if kinds(one) != kinds(two):
        return False
    for a, b in zip(one, two, strict=True):
        if a["type"] == "text" and a["text"] != b["text"]:
            return False
        if a["type"] == "image":
            gap = np.abs(np.asarray(a["value"], np.int16) - np.asarray(b["value"], np.int16)).max()
            if gap > 1:  # another batch may round another way
                return False
        if a["type"] == "audio":  # phases are found by iteration and drift apart, what is heard is the same
            mels = log_mel(torch.from_numpy(np.stack([a["value"], b["value"]])), AudioOptions())
            if (mels[0] - mels[1]).abs().mean() > 0.02:
                return False
    return True


@pytest.fixture(scope="module")
def prompts(mixed):
    return [talk[:1] for talk in mixed]


@pytest.fixture(scope="module")
def trained(parts, processor, mixed):
    """A model that has memorised the mixed conversations (with untrained encoders and decoders)."""
    model = CoDi2ForConditionalGeneration.build(parts.config(loss_weights={"diffusion": 0}), seed=0)
    for part in (model.encoders, model.decoders, model.aligners):
        part.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    batch = processor(mixed, training=True)
    for _ in range(100):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def test_a_model_that_has_learnt_replies_in_the_order_it_learnt(trained, processor, mixed, prompts):
    replies = generate(trained, processor, prompts, **{**QUICK, "max_new_tokens": 40})
    for talk, reply in zip(mixed, replies, strict=True):
        wanted = talk[1]["content"]
        assert kinds(reply) == kinds(wanted)
        assert [p["text"] for p in reply if p["type"] == "text"] == [p["text"] for p in wanted if p["type"] == "text"]
    for part in (part for reply in replies for part in reply):
        if part["type"] == "image":
            assert isinstance(part["value"], Image.Image) and part["value"].size == (32, 32)
        elif part["type"] == "audio":
            assert part["value"].dtype == np.float32 and part["value"].shape == (32000,)
    # the second round, with the first one's picture as its past
    second = generate(trained, processor, [mixed[4][:3]], **{**QUICK, "max_new_tokens": 40})[0]
    assert kinds(second) == ["text", "image"] and second[0]["text"] == "Here it is: "


def test_features_are_fed_back_as_in_training(model, processor, parts):
    """Token by token generation equals a training forward pass with the predicted features in the slots."""
    talk = [
        parts.user(parts.text("Draw "), parts.image("black")),
        parts.assistant(parts.image("red"), parts.audio(200)),
    ]
    writer = Writer(model, processor, [talk[:1]], GenerationOptions(force=("image", "audio")), [0])
    with torch.no_grad():
        for _ in writer.write():
            pass
        features = {m.modality: torch.stack(m.features)[None] for m in writer.replies[0].media()}
        batch = processor([talk], training=True)
        batch.pop("labels")
        inputs = model.encoders.features("image", batch["images"][:1])
        forced = model(**batch, features={"image": torch.cat([inputs, features["image"]]), "audio": features["audio"]})
        encoded = model(**batch)
    scale = processor.config.scale
    for modality, row in (("image", 1), ("audio", 0)):
        expected = torch.nn.functional.normalize(forced.predicted[modality][row], dim=-1) * scale
        torch.testing.assert_close(features[modality][0], expected, atol=1e-4, rtol=1e-4)
    # the sound comes after the picture: it has seen the picture's predicted features, not the encoder's
    assert not torch.allclose(forced.predicted["audio"], encoded.predicted["audio"], atol=1e-3)


def test_a_reply_does_not_depend_on_its_batch(trained, processor, prompts):
    options = {**QUICK, "temperature": 0.8, "top_p": 0.9, "seed": 5}
    whole = generate(trained, processor, prompts, **options)
    for prompt, reply in zip(prompts, whole, strict=True):
        assert equal(generate(trained, processor, [prompt], **options)[0], reply)


def test_a_seed_repeats_its_reply_and_another_seed_gives_another(model, processor, prompts):
    options = {**QUICK, "temperature": 1.0, "force": ["text", "image"]}
    one, again, other = (generate(model, processor, prompts[:1], seed=s, **options)[0] for s in (1, 1, 2))
    assert equal(one, again) and not equal(one, other)
    both = generate(model, processor, [prompts[0]] * 2, seed=[1, 2], **options)
    assert equal(both[0], one) and equal(both[1], other)


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_one_modality_alone_is_forced(model, processor, prompts, modality):
    replies = generate(model, processor, prompts, modalities=(modality,), steps=2)
    assert [kinds(reply) for reply in replies] == [[modality]] * len(prompts)


def test_a_skeleton_is_followed_whatever_the_model_would_say(model, processor, prompts):
    reply = generate(model, processor, prompts[:2], force=["image", "audio", "image"], **QUICK)
    assert [kinds(r) for r in reply] == [["image", "audio", "image"]] * 2
    with_text = generate(model, processor, prompts[:1], force=["image", "text", "audio"], temperature=2.0, **QUICK)[0]
    assert [k for k in kinds(with_text) if k != "text"] == ["image", "audio"]


def test_what_is_not_asked_for_does_not_come(model, processor, prompts):
    for seed in range(3):
        text = generate(model, processor, prompts, modalities=("text",), temperature=5.0, seed=seed, **QUICK)
        assert all(set(kinds(reply)) <= {"text"} for reply in text)
        media = generate(
            model, processor, prompts[:2], modalities=("image", "audio"), temperature=5.0, seed=seed, steps=1
        )
        assert all(kinds(reply) and "text" not in kinds(reply) for reply in media)
        assert all(len(reply) <= processor.config.max_media for reply in media)


def test_a_reply_ends_at_the_models_length(model, processor, parts):
    long = [parts.user(parts.text("word " * 80))]
    room = processor.config.max_length - processor.count(long)
    assert room > 20
    options = GenerationOptions(modalities=("text",), max_new_tokens=10_000, temperature=9.0)
    writer = Writer(model, processor, [long], options, [0])
    with torch.no_grad():
        for _ in writer.write():
            pass
    assert sum(map(len, writer.replies[0].parts)) == room - 2  # the begin of the reply and the end of its turn


def test_bad_requests_are_refused_by_name(model, processor, prompts, mixed, parts):
    with pytest.raises(ValueError, match="unknown modality 'smell'"):
        generate(model, processor, prompts, modalities=("smell",))
    with pytest.raises(ValueError, match="conversation 1 ends with an assistant message"):
        generate(model, processor, [prompts[0], mixed[0]])
    with pytest.raises(ValueError, match="2 seeds for 1 conversations"):
        generate(model, processor, prompts[:1], seed=[1, 2])
    with pytest.raises(ValueError, match="max_length 512"):
        generate(model, processor, [[parts.user(parts.text("word and " * 600))]])


def test_a_stream_tells_what_generate_gives(trained, processor, mixed):
    options = {**QUICK, "max_new_tokens": 40, "steps": 3}
    events = list(stream(trained, processor, mixed[3][:1], **options))
    whole = generate(trained, processor, [mixed[3][:1]], **options)[0]
    content, numbers = [], []
    for event in events:
        if isinstance(event, TextDelta):
            if content and content[-1]["type"] == "text":
                content[-1]["text"] += event.text
            else:
                content.append({"type": "text", "text": event.text})
        elif isinstance(event, MediumDone):
            content.append({"type": event.modality, "value": event.value})
        elif isinstance(event, MediumBegun):
            numbers.append(event.number)
    assert equal(content, whole) and kinds(content) == ["text", "image", "text", "audio"]
    assert numbers == [0, 1]
    assert [e.step for e in events if isinstance(e, Progress)] == [1, 2, 3, 1, 2, 3]
    assert sum(isinstance(e, TextDelta) for e in events) > 2
