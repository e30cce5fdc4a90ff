"""What the model costs beside its parts, each measured side by side in one run on real samples.

usage: python benchmarks/model.py ROOT [PRESET]      (a root with a published build, as `make demo` leaves in ./data)

- step: forward and backward of a packed batch, against a bare LlamaForCausalLM over the same tokens and labels, with and
  without the decoders' own time;
- packing: share of a batch's places that hold a token, packed and padded;
- loader: share of a training step that waits for samples;
- cache: a reply of 200 tokens, with the key-value cache and reading everything anew each time;
- memory: the most that saving and loading hold beside the weights, each in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaForCausalLM

from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.generation.decode_loop import Writer
from codi2_model.generation.events import Options
from codi2_model.modules.llm import llm_config
from codi2_model.modules.slots import positions
from codi2_model.training.data.mixture import Loader, Mixture
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import Conversations
from codi2_model.training.pipeline_stage import local_shards
from codi2_storage.catalog.catalog import Catalog

BATCH, NEW_TOKENS, REPEATS = 32, 200, 3
TASKS = (
    "text_to_image",
    "image_editing",
    "exemplar_learning",
    "subject_driven",
    "image_captioning",
    "text_instruction",
)


def least_seconds(runs: list[Callable[[], Any]], repeats: int = REPEATS) -> list[float]:
    """Least seconds of each, taken in turns: what else the machine does can only add."""
    seen: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for run, times in zip(runs, seen, strict=True):
            start = time.perf_counter()
            run()
            if turn:  # the first warms up
                times.append(time.perf_counter() - start)
    return [min(times) for times in seen]


def step(model: CoDi2ForConditionalGeneration, batch: Any) -> None:
    model.train()
    for module in (model.encoders, model.decoders):
        module.requires_grad_(False)
    bare = LlamaForCausalLM(llm_config(model.config)).train()
    targets = {m: batch[f"{m}s"][batch[f"{m}_target"]] for m in model.config.modalities if f"{m}s" in batch}

    def ours(diffusion: float) -> None:
        model.config.loss_weights = type(model.config.loss_weights)(diffusion=diffusion)
        model(**batch).loss.backward()
        model.zero_grad(set_to_none=True)

    def llama() -> None:
        bare(batch["input_ids"], position_ids=batch["position_ids"], labels=batch["labels"]).loss.backward()
        bare.zero_grad(set_to_none=True)

    def decoders() -> None:
        for modality, media in targets.items():
            if len(media):
                features = torch.randn(len(media), 1, model.config.feature_dim, requires_grad=True)
                model.decoder(modality).loss(features, media).backward()

    plain, whole, alone, own = least_seconds([lambda: ours(0.0), lambda: ours(0.5), llama, decoders])
    tokens = int(batch["attention_mask"].sum())
    print(
        f"step of {tokens:,} tokens: bare Llama {alone:.2f} s, ours without decoders {plain:.2f} s: {plain / alone:.2f}"
    )
    print(f"  with decoders {whole:.2f} s, bare Llama + decoders' own {alone + own:.2f} s: {whole / (alone + own):.2f}")


def packing(processor: CoDi2Processor, source: Conversations, draws: list[Any]) -> Any:
    """Prints fill; returns the packed batch."""
    talks = [source.sample(draw.task, draw.index) for draw in draws]
    prepared = source.processor
    packed, padded = (prepared(talks, training=True, packed=flag) for flag in (True, False))
    fills = [float(batch["attention_mask"].float().mean()) for batch in (packed, padded)]
    print(f"packing: {fills[0]:.3f} of all places hold a token, padded {fills[1]:.3f} ({len(talks)} conversations)")
    return packed


def waiting(model: CoDi2ForConditionalGeneration, source: Conversations, steps: int = 12) -> None:
    loader = Loader(Mixture(source.sizes, dict.fromkeys(source.sizes, 1.0), 0), source.load, BATCH, workers=1)
    model.config.loss_weights = type(model.config.loss_weights)(diffusion=0.0)
    waited, start = 0.0, 0.0
    for number in range(steps):
        if number == 2:  # the first fill the queue
            waited, start = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = loader.step().batches[0]
        waited += time.perf_counter() - asked
        model(**batch).loss.backward()
        model.zero_grad(set_to_none=True)
    whole = time.perf_counter() - start
    loader.close()
    print(f"loader: {waited / whole:.3f} of a step's time ({whole / (steps - 2):.2f} s) is spent waiting for samples")


@torch.no_grad()
def cache(model: CoDi2ForConditionalGeneration, processor: CoDi2Processor) -> None:
    model.eval()
    talk = [{"role": "user", "content": "Tell me about the sea."}]
    start = time.perf_counter()
    writer = Writer(model, processor, [talk], Options(modalities=("text",), max_new_tokens=NEW_TOKENS), [0])
    writer._choose = lambda reply, logits: 100 if reply.text_tokens < NEW_TOKENS else model.config.eos_token_id  # type: ignore[method-assign]
    for _ in writer.write():
        pass
    cached = time.perf_counter() - start
    ids = processor([talk])["input_ids"]
    start = then = time.perf_counter()
    last = 0.0
    for _ in range(NEW_TOKENS):
        mask = torch.ones_like(ids)
        hidden = model.llm.model(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
        model.llm.lm_head(hidden.last_hidden_state[:, -1])
        ids = torch.cat([ids, torch.full((1, 1), 100)], dim=1)
        last, then = time.perf_counter() - then, time.perf_counter()
    plain = time.perf_counter() - start
    print(f"cache: {NEW_TOKENS} tokens in {cached:.1f} s, without {plain:.1f} s: {plain / cached:.1f} times as fast")
    print(
        f"  a token after {NEW_TOKENS} others: {cached / NEW_TOKENS:.3f} s and {last:.3f} s, {last * NEW_TOKENS / cached:.1f} times"
    )


MEMORY = """
import re, sys
from pathlib import Path
from transformers.utils import logging
from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration
logging.disable_progress_bar()
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1e3
if sys.argv[2] == "save":
    config = CoDi2Config.preset(sys.argv[3]); config.llm_source = None
    model = CoDi2ForConditionalGeneration.build(config); before = peak()
    model.save_pretrained(sys.argv[1], max_shard_size="100MB")
else:
    import codi2_model.modeling; before = peak()
    model = CoDi2ForConditionalGeneration.from_pretrained(sys.argv[1])
for p in model.parameters(): p.sum()  # loaded weights are mapped: touch them
weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
print(f"memory: {sys.argv[2]}: {peak() - before:,.0f} MB more at most, for {weights:,.0f} MB of weights")
"""


def memory(preset: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for what in ("save", "load"):
            subprocess.run([sys.executable, "-c", MEMORY, folder, what, preset], check=True)


def main(root: str, preset: str = "small") -> None:
    torch.manual_seed(0)
    config = CoDi2Config.preset(preset)
    catalog = Catalog(root)
    build = catalog.latest_build()
    assert build is not None, f"no published build in {root}"
    shards = ShardSet(local_shards(catalog, build))
    texts = (
        p.text for task in TASKS for r in shards.get(task, "train")[:300] for p in shards.sample(r).parts() if p.text
    )
    processor = CoDi2Processor.build(config, texts=None if config.llm_source else texts)
    config.llm_source = None  # its weights do not change its speed
    model = CoDi2ForConditionalGeneration.build(config)
    source = Conversations(shards, MediaCache(shards, processor.medium, 1024), processor, TASKS, "train")
    draws = Mixture(source.sizes, dict.fromkeys(source.sizes, 1.0), 0).take(BATCH)
    batch = packing(processor, source, draws)
    step(model, batch)
    waiting(model, source)
    cache(model, processor)
    memory(preset)


if __name__ == "__main__":
    main(*sys.argv[1:])
