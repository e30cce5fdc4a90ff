"""Pretrained text encoder: a frozen BERT whose states are added to the language model's token embeddings.

It gives word meanings to a language model that is trained from scratch. The default is the sentence encoder
all-MiniLM-L6-v2 (Apache-2.0) from an installed package. Each text part that is not the assistant's is encoded as a whole,
with bidirectional attention, and a token gets the state of the word piece in which it ends. Checkpoints contain the
weights, so only training needs the package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from codi2_datasets.pretrained.package_weights import package_file
from codi2_model.options import TextStatesOptions

MAX_PIECES = 256  # per text; the text encoder does not read the rest
CHUNK_ROWS = 16_384  # of the word embeddings: 12.6 MB in bfloat16 at width 384


class Pieces(NamedTuple):
    """Word pieces of a text: ids, and the characters (begin, end) of each."""

    ids: list[int]
    spans: list[tuple[int, int]]


class ChunkedEmbedding(nn.Module):
    """Embedding of `rows` ids in chunks of at most CHUNK_ROWS rows, so that files of weights can be smaller than the whole."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.starts = range(0, rows, CHUNK_ROWS)
        self.sizes = [min(CHUNK_ROWS, rows - start) for start in self.starts]
        self.chunks = nn.ModuleList(nn.Embedding(size, width) for size in self.sizes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (...) -> embeddings (..., width)."""
        result = None
        for chunk, start, size in zip(self.chunks, self.starts, self.sizes, strict=True):
            values = chunk((ids - start).clamp(0, size - 1))
            result = values if result is None else torch.where((ids >= start)[..., None], values, result)
        assert result is not None
        return result

    def state_of(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """State dict of the module for the weight (rows, width) of a plain embedding."""
        return {f"chunks.{number}.weight": chunk for number, chunk in enumerate(weight.split(CHUNK_ROWS))}


class TextStates(nn.Module):
    """Frozen BERT: ids of word pieces -> states, without gradient."""

    def __init__(self, options: TextStatesOptions) -> None:
        super().__init__()
        config = BertConfig(**options.config)
        self.bert = BertModel(config, add_pooling_layer=False)
        embeddings: Any = self.bert.embeddings
        embeddings.word_embeddings = ChunkedEmbedding(config.vocab_size, config.hidden_size)
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        """Size of a state."""
        return int(self.bert.config.hidden_size)

    def train(self, mode: bool = True) -> TextStates:
        """Stay in evaluation mode, because the module is never trained."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> TextStates:
        """Stay frozen."""
        return super().requires_grad_(False)

    @torch.no_grad()
    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (P, L) of texts -> states (P, L, width) of unit variance."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.layer_norm(states.float(), states.shape[-1:])

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (N, L) -> mean state of each text (N, width), of unit variance."""
        states, keep = self(ids, mask), mask[..., None]
        return F.layer_norm((states * keep).sum(dim=1) / keep.sum(dim=1), (self.width,))

    def load(self, package: str) -> None:
        """Load the weights from an installed package, strictly except for the unused pooling layer."""
        from safetensors.torch import load_file

        weights = load_file(encoder_file(package, "model.safetensors"))
        kept = {k: v for k, v in weights.items() if not k.startswith("pooler.") and "position_ids" not in k}
        words: Any = self.bert.embeddings.word_embeddings
        chunks = words.state_of(kept.pop("embeddings.word_embeddings.weight"))
        self.bert.load_state_dict(
            kept | {f"embeddings.word_embeddings.{name}": chunk for name, chunk in chunks.items()}
        )


def encoder_file(package: str, name: str) -> Path:
    """Path of a file in the encoder's package. Raises PackageMissing."""
    return package_file(package, f"model/{name}")


def describe(package: str) -> dict[str, Any]:
    """BertConfig options of the encoder in a package."""
    values = json.loads(encoder_file(package, "config.json").read_text(encoding="utf-8"))
    return {
        key: value
        for key, value in values.items()
        if not key.startswith("_") and key not in ("architectures", "transformers_version")
    }


def text_tokenizer(package: str) -> Tokenizer:
    """The tokenizer of a package, without padding and truncated to MAX_PIECES."""
    tokenizer = Tokenizer.from_file(str(encoder_file(package, "tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_PIECES)
    return tokenizer


def split_pieces(tokenizer: Tokenizer, text: str) -> Pieces:
    """Split a text into word pieces."""
    encoded = tokenizer.encode(text)
    return Pieces(encoded.ids, [(int(begin), int(end)) for begin, end in encoded.offsets])


def piece_indices(pieces: Pieces, ends: Sequence[int]) -> list[int]:
    """For tokens with exclusive end offsets `ends`: index of the piece of each last character, or of the piece before it.

    Tokens outside of all pieces get the index of the begin or end piece, which have no characters.
    """
    owner: list[int] = []
    for number, (begin, end) in enumerate(pieces.spans):
        if end > begin:
            owner += [number - 1 if number > 1 else 0] * (begin - len(owner)) + [number] * (
                end - max(begin, len(owner))
            )
    return [owner[end - 1] if 0 < end <= len(owner) else (len(pieces.ids) - 1 if end else 0) for end in ends]
