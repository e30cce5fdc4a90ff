"""Rows join and leave a batch during generation without changing the others."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_model.generation.batch_state import Rows
from codi2_model.generation.decode_loop import Writer
from codi2_model.generation.events import Options


def begun(model: Any, processor: Any, parts: Any, words: int) -> Rows:
    """A row after the prefill of a prompt of `words` words."""
    talk = [parts.user(parts.text("word " * words))]
    return Writer(model, processor, [talk], Options(), [0]).begin()


def read(model: Any, rows: Rows, tokens: list[int]) -> Rows:
    embeddings = model.get_input_embeddings()(torch.tensor(tokens))
    return rows.read(model, embeddings, [True] * len(tokens))


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    events=st.lists(st.one_of(st.integers(1, 12), st.just("leave")), min_size=1, max_size=7), salt=st.integers(0, 50)
)
def test_a_row_reads_the_same_whoever_joins_and_leaves(
    model: Any, processor: Any, parts: Any, events: list[int | str], salt: int
) -> None:
    """A number is a row with so many words that joins; then every row processes a token, as it does by itself."""
    together: Rows | None = None
    alone: list[Rows] = []
    with torch.no_grad():
        for step, event in enumerate(events):
            if event == "leave" and together is not None and len(alone) > 1:
                places = [n for n in range(len(alone)) if n != (salt + step) % len(alone)]
                together, alone = together.keep(places), [alone[n] for n in places]
            elif isinstance(event, int):
                row = begun(model, processor, parts, event)
                together = row if together is None else together.join(row)
                alone.append(begun(model, processor, parts, event))
            if together is None:
                continue
            tokens = [20 + (salt + 7 * n + step) % 100 for n in range(len(alone))]
            together = read(model, together, tokens)
            alone = [read(model, row, [token]) for row, token in zip(alone, tokens, strict=True)]
            torch.testing.assert_close(together.hidden, torch.cat([row.hidden for row in alone]), atol=1e-4, rtol=1e-4)
            assert together.mask.any(dim=0)[0]  # no column that none of the rows fills
