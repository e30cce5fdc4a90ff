"""Sequence packing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codi2_model.modules.packing import pack


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_every_sample_stands_in_one_row_and_no_row_overflows(lengths):
    rows = pack(lengths, 50)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    assert max(sum(lengths[n] for n in row) for row in rows) <= 50


def test_rows_fill_evenly():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 200, (64,), generator=generator).tolist()
    rows = [sum(lengths[n] for n in row) for row in pack(lengths, 512)]
    assert sum(rows) / (len(rows) * max(rows)) > 0.95


def test_a_sample_that_fits_no_row_is_an_error():
    with pytest.raises(ValueError, match="60 tokens does not fit a row of 50"):
        pack([10, 60], 50)


@torch.no_grad()
def test_packed_samples_give_what_they_give_alone(model, processor, mixed):
    packed = processor(mixed, training=True, packed=True)
    assert len(packed["input_ids"]) == 1  # all fit in one row
    whole = model(**packed, return_logits=True, generator=torch.Generator().manual_seed(0))
    starts = (packed["position_ids"][0] == 0).nonzero().flatten().tolist()
    order = sorted(range(len(mixed)), key=lambda n: n)
    for row, start in zip(order, starts, strict=False):
        single = model(**processor([mixed[row]], training=True), return_logits=True)
        length = single.logits.shape[1]
        torch.testing.assert_close(whole.logits[0, start : start + length], single.logits[0], atol=1e-4, rtol=1e-4)
    plain = model(**processor(mixed, training=True), generator=torch.Generator().manual_seed(0))
    assert list(whole.losses) == list(plain.losses)
    for name, value in plain.losses.items():
        torch.testing.assert_close(whole.losses[name], value, atol=1e-4, rtol=1e-4)


def test_packed_rows_of_unequal_length_ignore_their_padding(parts, processor, mixed):
    from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor

    config = parts.config(max_length=60)
    narrow, model = CoDi2Processor(config, processor.tokenizer), CoDi2ForConditionalGeneration.build(config)
    packed = narrow(mixed, training=True, packed=True)
    assert len(packed["input_ids"]) > 1 and (packed["attention_mask"] == 0).any()
    with torch.no_grad():
        one = model(**packed, generator=torch.Generator().manual_seed(0)).losses
        two = model(**narrow(mixed, training=True), generator=torch.Generator().manual_seed(0)).losses
    for name in ("tokens", "feature_cosine", "feature_mse"):
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="packed=True needs training=True"):
        narrow(mixed, packed=True)
