"""Sessions: reuse of the key-value cache, rewinding, interrupted turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codi2_model import CoDi2ForConditionalGeneration
from codi2_model.generation.events import MediumDone, Progress
from codi2_model.generation.session import Session
from codi2_model.modeling import media_of


def test_a_turn_reads_only_what_is_new_and_answers_as_without_a_cache(model, processor, parts):
    """The last hidden state of the second prompt, with the cache, equals that of a full prefill with the same features."""
    session = Session(model, processor)
    first = session.reply(
        [parts.text("Draw a red dog like "), parts.image("red")], modalities=("image",), steps=2, seed=3
    )
    assert [part["type"] for part in first] == ["image"]
    read = session.tokens_read
    seen = {}
    whole = session.read

    def watched(batch):
        features = session._all_features(batch)
        hidden, cache = whole(batch)
        full = model(**batch, features=features)
        seen["difference"] = (hidden - full.hidden[:, -1]).abs().max().item()
        seen["own"] = features["image"][1]
        seen["tokens"] = batch["input_ids"].shape[1]
        return hidden, cache

    written = session._features["image"][1]
    session.read = watched
    session.reply("Now say what you see.", modalities=("text",), max_new_tokens=4)
    assert seen["difference"] < 1e-4
    assert torch.equal(seen["own"], written)  # the features it wrote, not those of the decoded picture
    assert session.tokens_read < seen["tokens"] - read + 8


def test_a_session_says_what_generate_says_at_the_first_turn(model, processor, parts):
    content = [parts.text("What do you see? "), parts.image("blue")]
    single = model.generate(processor, [[parts.user(*content)]], max_new_tokens=6, steps=2, seed=5)[0]
    reply = Session(model, processor).reply(content, max_new_tokens=6, steps=2, seed=5)
    assert [p["type"] for p in reply] == [p["type"] for p in single]
    assert [p.get("text") for p in reply] == [p.get("text") for p in single]


def test_a_turn_given_up_halfway_was_never_said(model, processor, parts):
    session = Session(model, processor)
    session.reply("Hello", modalities=("text",), max_new_tokens=3)
    events = session.stream([parts.text("Draw.")], modalities=("image",), steps=4)
    next(event for event in events if isinstance(event, Progress))
    events.close()
    assert len(session.messages) == 2
    again = session.reply([parts.text("Draw.")], modalities=("image",), steps=2, seed=1)
    fresh = Session(model, processor)
    fresh.reply("Hello", modalities=("text",), max_new_tokens=3)
    same = fresh.reply([parts.text("Draw.")], modalities=("image",), steps=2, seed=1)
    difference = np.asarray(again[0]["value"]).astype(int) - np.asarray(same[0]["value"])
    assert np.abs(difference).max() <= 2  # the cache was read in other pieces, which rounds otherwise
    with pytest.raises(ValueError, match="unknown modality 'smell'"):
        session.reply("x", modalities=("smell",))
    assert len(session.messages) == 4


def test_a_picture_of_a_turn_given_up_is_never_taken_for_the_next(model, processor, parts):
    session, fresh = Session(model, processor), Session(model, processor)
    events = session.stream([parts.text("Turn "), parts.image("red")], modalities=("image",), steps=4)
    next(event for event in events if isinstance(event, Progress))
    events.close()
    for one in (session, fresh):
        one.reply([parts.text("Turn "), parts.image("blue")], modalities=("image",), steps=1)
    torch.testing.assert_close(session._features["image"][0], fresh._features["image"][0])
    torch.testing.assert_close(session._features["image"][1], fresh._features["image"][1], atol=1e-3, rtol=1e-3)


def test_previews_come_while_a_medium_is_made(model, processor, parts):
    session = Session(model, processor)
    events = list(session.stream("Draw.", modalities=("video",), steps=4, preview_every=2))
    previews = [e.preview for e in events if isinstance(e, Progress) and e.preview is not None]
    done = [e.value for e in events if isinstance(e, MediumDone)]
    assert len(previews) == 1 and len(done) == 1
    assert previews[0].shape == done[0].shape == (8, 32, 32, 3)


def test_media_of_a_batch_come_by_modality(processor, mixed):
    groups = media_of(processor(mixed, training=True))
    assert [(g.modality, len(g.media)) for g in groups] == [("image", 9), ("audio", 4), ("video", 1)]


@pytest.mark.parametrize("kind", ["regression", "flow"])
def test_both_heads_train_and_generate(kind, parts, processor, mixed, train_steps):
    config = parts.config(head={"kind": kind, "width": 64, "steps": 4})
    model = CoDi2ForConditionalGeneration.build(config, seed=0)
    batch = processor(mixed, training=True)
    model.train()
    model.encoders.requires_grad_(False)

    def loss():
        return model(**batch, generator=torch.Generator().manual_seed(0)).loss

    seen = train_steps([p for p in model.parameters() if p.requires_grad], loss, 8)
    assert seen[-1] < seen[0]
    talk = [parts.user(parts.text("Draw a dog."))]
    one, two, other = (
        model.generate(processor, [talk], modalities=("image",), steps=2, seed=seed)[0][0]["value"]
        for seed in (1, 1, 2)
    )
    assert list(one.getdata()) == list(two.getdata()) != list(other.getdata())
