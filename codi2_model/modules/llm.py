"""The language model: a Llama from scratch, out of a package's GGUF file, or as transformers saves it; with or without LoRA."""

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
    """The language model's own configuration."""
    given = {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": config.eos_token_id,
    }
    return LlamaConfig(**(given | config.llm))


def load_llm(config: CoDi2Config) -> LlamaForCausalLM:
    """The language model of config.llm_source, with rows for the added tokens: the mean embedding and a little noise.

    Raises ValueError where its shape is not the config's, FileNotFoundError where there is none.
    """
    source = str(config.llm_source)
    if is_package(source):
        path = gguf_file(source)
        given: Any = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    else:
        given = AutoModelForCausalLM.from_pretrained(source)
    wanted = llm_config(config)
    for name in SHAPE:
        if getattr(given.config, name) != getattr(wanted, name):
            raise ValueError(
                f"{source}: {name} is {getattr(given.config, name)}, config.llm says {getattr(wanted, name)}"
            )
    theirs, ours = (dict(c.rope_parameters or {}).get("rope_theta") for c in (given.config, wanted))
    if theirs != ours:
        raise ValueError(f"{source}: rope_theta is {theirs}, config.llm says {ours}")
    rows = given.get_input_embeddings().weight
    if len(rows) > config.vocab_size:
        raise ValueError(f"{source}: {len(rows)} embeddings do not fit vocab_size {config.vocab_size}")
    grow_embeddings(given, config.vocab_size)
    given.config.max_position_embeddings = config.max_length
    given.config.pad_token_id, given.config.eos_token_id = config.pad_token_id, config.eos_token_id
    return given


@torch.no_grad()
def grow_embeddings(llm: Any, size: int) -> None:
    """Give the embeddings (and an output layer of its own) `size` rows."""
    old = len(llm.get_input_embeddings().weight)
    llm.resize_token_embeddings(size, mean_resizing=False)
    tied = llm.config.tie_word_embeddings
    for layer in [llm.get_input_embeddings()] + [llm.get_output_embeddings()] * (not tied):
        weight = layer.weight
        if size > old:
            noise = 0.02 * weight[:old].std() * torch.randn_like(weight[old:])
            weight[old:] = weight[:old].mean(dim=0) + noise


def add_lora(llm: LlamaForCausalLM, options: LoraOptions) -> None:
    """Put low-rank adapters beside the named projections, in place. Raises ValueError where none has such a name."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, target_modules=list(options.targets)
    )
    inject_adapter_in_model(config, llm)


def trained_parts(llm: LlamaForCausalLM, config: CoDi2Config) -> list[nn.Module]:
    """All of the language model; with LoRA the adapters, and the embeddings, since the media tokens are new."""
    if config.lora is None:
        return [llm]
    adapters = [m for name, m in llm.named_modules() if name.endswith((".lora_A", ".lora_B"))]
    return [*adapters, llm.get_input_embeddings(), llm.get_output_embeddings()]


def published_prefix(name: str, config: CoDi2Config) -> bool:
    """Whether a weight `llm.…` is the source's own and stays as it is."""
    frozen = config.llm_source is not None and config.lora is not None
    added = ("lora_", "embed_tokens", "lm_head")
    return frozen and name.startswith("llm.") and not any(part in name for part in added)
