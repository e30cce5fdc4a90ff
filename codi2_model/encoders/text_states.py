"""Pretrained text encoder beside the language model: a frozen BERT whose states say what the user's words mean.

A language model that starts from nothing knows no word; the sentence encoder all-MiniLM-L6-v2 (Apache-2.0), out of its
package, does. Each text part that is not the assistant's own is read as a whole, both ways, and the state of the piece that a
token ends in is added to the token's embedding. Weights are kept in checkpoints, so that only training needs the package.
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

MOST_PIECES = 256  # of a text; what follows is read by the language model alone


class Pieces(NamedTuple):
    """A text as the encoder takes it: ids of its word pieces, and the characters (begin, end) that each stands for."""

    ids: list[int]
    spans: list[tuple[int, int]]


class TextStates(nn.Module):
    """Ids of word pieces -> states, without gradient."""

    def __init__(self, options: TextStatesOptions) -> None:
        super().__init__()
        self.bert = BertModel(BertConfig(**options.config), add_pooling_layer=False)
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        return int(self.bert.config.hidden_size)

    def train(self, mode: bool = True) -> TextStates:
        """Stays in evaluation mode: it is not trained."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> TextStates:
        """Stays frozen."""
        return super().requires_grad_(False)

    @torch.no_grad()
    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (P, L) of texts -> states (P, L, width), each of unit variance."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.layer_norm(states.float(), states.shape[-1:])

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (N, L) -> the mean of each text's states, (N, width), of unit variance."""
        states, keep = self(ids, mask), mask[..., None]
        return F.layer_norm((states * keep).sum(dim=1) / keep.sum(dim=1), (self.width,))

    def load(self, package: str) -> None:
        """Fill it from an installed package, strictly but for the pooling layer, which is not used."""
        from safetensors.torch import load_file

        given = load_file(file_of(package, "model.safetensors"))
        self.bert.load_state_dict(
            {k: v for k, v in given.items() if not k.startswith("pooler.") and "position_ids" not in k}
        )


def file_of(package: str, name: str) -> Path:
    """A file of the package that carries the encoder. Raises PackageMissing."""
    return package_file(package, f"model/{name}")


def describe(package: str) -> dict[str, Any]:
    """The shape of the encoder that a package carries."""
    values = json.loads(file_of(package, "config.json").read_text(encoding="utf-8"))
    return {
        key: value
        for key, value in values.items()
        if not key.startswith("_") and key not in ("architectures", "transformers_version")
    }


def text_tokenizer(package: str) -> Tokenizer:
    """The tokenizer that a package carries, which neither pads nor cuts."""
    tokenizer = Tokenizer.from_file(str(file_of(package, "tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_PIECES)
    return tokenizer


def pieces_of(tokenizer: Tokenizer, text: str) -> Pieces:
    encoded = tokenizer.encode(text)
    return Pieces(encoded.ids, [(int(begin), int(end)) for begin, end in encoded.offsets])


def places_of(pieces: Pieces, ends: Sequence[int]) -> list[int]:
    """For tokens that end before the characters `ends`: the piece that the last character of each lies in, or the one before.

    Pieces that stand for no characters (the beginning and the end) are taken for tokens outside of all others.
    """
    owner: list[int] = []
    for number, (begin, end) in enumerate(pieces.spans):
        if end > begin:
            owner += [number - 1 if number > 1 else 0] * (begin - len(owner)) + [number] * (
                end - max(begin, len(owner))
            )
    return [owner[end - 1] if 0 < end <= len(owner) else (len(pieces.ids) - 1 if end else 0) for end in ends]
