"""The language model: a Llama from scratch, from a GGUF file of a package, or from a transformers folder; optional LoRA."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from codi2_model.config import CoDi2Config
from codi2_model.modules.tokenizers import gguf_file, is_package
from codi2_model.options import LoraOptions

SHAPE = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "rms_norm_eps", "hidden_act", "attention_bias", "mlp_bias", "tie_word_embeddings",
)  # fmt: skip


def llm_config(config: CoDi2Config) -> LlamaConfig:
    """The LlamaConfig of the language model."""
    defaults = {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": config.eos_token_id,
    }
    return LlamaConfig(**(defaults | config.llm))


def load_llm(config: CoDi2Config) -> LlamaForCausalLM:
    """Load `config.llm_source` and add embeddings for the new tokens: the mean embedding plus a little noise.

    Raises ValueError if the shape differs from the config, FileNotFoundError if the package or file is missing.
    """
    source = str(config.llm_source)
    if is_package(source):
        path = gguf_file(source)
        llm: Any = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    else:
        llm = AutoModelForCausalLM.from_pretrained(source)
    expected = llm_config(config)
    for name in SHAPE:
        if getattr(llm.config, name) != getattr(expected, name):
            raise ValueError(
                f"{source}: {name} is {getattr(llm.config, name)}, config.llm has {getattr(expected, name)}"
            )
    theirs, ours = (dict(c.rope_parameters or {}).get("rope_theta") for c in (llm.config, expected))
    if theirs != ours:
        raise ValueError(f"{source}: rope_theta is {theirs}, config.llm has {ours}")
    rows = llm.get_input_embeddings().weight
    if len(rows) > config.vocab_size:
        raise ValueError(f"{source}: {len(rows)} embeddings exceed vocab_size {config.vocab_size} of the config")
    grow_embeddings(llm, config.vocab_size)
    llm.config.max_position_embeddings = config.max_length
    llm.config.pad_token_id, llm.config.eos_token_id = config.pad_token_id, config.eos_token_id
    return llm


@torch.no_grad()
def grow_embeddings(llm: Any, size: int) -> None:
    """Resize the token embeddings, and the output layer unless tied, to `size` rows."""
    old = len(llm.get_input_embeddings().weight)
    llm.resize_token_embeddings(size, mean_resizing=False)
    tied = llm.config.tie_word_embeddings
    for layer in [llm.get_input_embeddings()] + [llm.get_output_embeddings()] * (not tied):
        weight = layer.weight
        if size > old:
            noise = 0.02 * weight[:old].std() * torch.randn_like(weight[old:])
            weight[old:] = weight[:old].mean(dim=0) + noise


def add_lora(llm: LlamaForCausalLM, options: LoraOptions) -> None:
    """Add low-rank adapters to the target projections, in place. Raises ValueError if no module has such a name."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, target_modules=list(options.targets)
    )
    inject_adapter_in_model(config, llm)


def trained_parts(llm: LlamaForCausalLM, config: CoDi2Config) -> list[nn.Module]:
    """Trained modules of the language model: all of it, or with LoRA the adapters and the embeddings (media tokens are new)."""
    if config.lora is None:
        return [llm]
    adapters = [m for name, m in llm.named_modules() if name.endswith((".lora_A", ".lora_B"))]
    return [*adapters, llm.get_input_embeddings(), llm.get_output_embeddings()]


def published_prefix(name: str, config: CoDi2Config) -> bool:
    """Whether a weight `llm.…` belongs to the published source and is not trained."""
    frozen = config.llm_source is not None and config.lora is not None
    added = ("lora_", "embed_tokens", "lm_head")
    return frozen and name.startswith("llm.") and not any(part in name for part in added)
