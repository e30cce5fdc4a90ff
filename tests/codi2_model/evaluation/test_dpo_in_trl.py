"""The export `dpo` in the hands of its reader: TRL's DPOTrainer takes a step on it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import datasets
from codi2_datasets.exports import dpo
from codi2_datasets.exports.base import Item
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_storage.store import Store

PAIRS = 4
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}{{ part['text'] }}"
    "{% endfor %}\n{% endfor %}"
)


def reply(number: int, text: str, score: float) -> Item:
    messages = (
        Message("user", (Part("text", f"What is {number} and {number}?"),)),
        Message("assistant", (Part("text", text, target=True),)),
    )
    meta = {"request_id": str(number), dpo.SCORE: score}
    return Item(Sample(f"s{number}-{score:.0f}", "text_instruction", "train", messages, "CC0-1.0", 1, meta=meta), {})


@pytest.fixture
def pairs(tmp_path: Path) -> Any:
    """The rows of an export of text replies."""
    items = [reply(n, *said) for n in range(PAIRS) for said in ((f"It is {2 * n}.", 1.0), ("A square.", 0.0))]
    loss = dpo.write(items, Store(tmp_path / "out"))
    assert loss.written == 2 * PAIRS
    files = f"{tmp_path}/out/train-*.parquet"
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"))
    return rows.select_columns(["prompt", "chosen", "rejected"])


def test_a_trainer_of_trl_takes_a_step_on_the_pairs(
    pairs: Any, tmp_path: Path, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import DPOConfig, DPOTrainer

    tokenizer = processor.tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", TEMPLATE)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    options = DPOConfig(
        output_dir=str(tmp_path / "trl"), max_steps=1, per_device_train_batch_size=PAIRS, logging_steps=1, report_to=[],
        use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = DPOTrainer(model, copy.deepcopy(model), options, train_dataset=pairs, processing_class=tokenizer)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(
        math.log(2), abs=1e-3
    )  # the model is its own reference
