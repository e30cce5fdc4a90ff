"""Tokenizers: a byte-level BPE trained from texts, or that of a published language model, with media tokens added."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from codi2_model.config import MODALITIES, CoDi2Config

PAD, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SLOT = "<media>"
_MEDIA = (SLOT, *(token for m in MODALITIES for token in (f"<{m}>", f"</{m}>")))

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def media_tokens(config: CoDi2Config) -> list[str]:
    """Media tokens (slot, begin and end of each modality, queries) in the order of their ids."""
    return [*_MEDIA, *(f"<media_query_{n}>" for n in range(len(config.query_ids())))]


def gguf_file(package: str) -> Path:
    """The GGUF file in an installed package, which is not imported.

    Raises FileNotFoundError if the package or the file is missing.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package '{package}' with the language model is not installed: run `make setup`")
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise FileNotFoundError(f"package '{package}' has no .gguf file in {Path(spec.origin).parent}")
    return files[0]


def is_package(source: str) -> bool:
    """Whether a language model source is a package name, not a folder or a model on the hub."""
    return source.isidentifier() and not Path(source).is_dir()


def source_tokenizer(source: str) -> Any:
    """The tokenizer of a language model source. Raises ValueError if it has no chat template."""
    if is_package(source):
        path = gguf_file(source)
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    if not tokenizer.chat_template:
        raise ValueError(f"{source}: the tokenizer has no chat template, which conversations need")
    return tokenizer


def build_tokenizer(config: CoDi2Config, texts: Iterable[str] | None) -> PreTrainedTokenizerFast:
    """The tokenizer of a config, with media tokens. Raises ValueError if token ids differ from the config."""
    if config.llm_source is not None:
        tokenizer = source_tokenizer(config.llm_source)
        tokenizer.add_special_tokens({"extra_special_tokens": media_tokens(config)})
    elif texts is None:
        raise ValueError("a tokenizer from scratch needs texts to train on: CoDi2Processor.build(config, texts=...)")
    else:
        tokenizer = train_tokenizer(config, texts)
    expected = dict(zip(media_tokens(config), range(config.first_media_token, config.vocab_size), strict=False))
    expected[str(tokenizer.eos_token)] = config.eos_token_id
    for token, number in expected.items():
        if tokenizer.convert_tokens_to_ids(token) != number:
            raise ValueError(
                f"token {token} has id {tokenizer.convert_tokens_to_ids(token)}, the config expects {number}"
            )
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, which exceeds config.vocab_size {config.vocab_size}"
        )
    return tokenizer


def train_tokenizer(config: CoDi2Config, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most config.vocab_size tokens. It can encode any string."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = [PAD, SYSTEM, USER, ASSISTANT, END, *media_tokens(config)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=2,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    options: dict[str, Any] = {"clean_up_tokenization_spaces": False, "model_max_length": config.max_length}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, extra_special_tokens=special[1:4] + special[5:], **options
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
