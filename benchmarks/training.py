"""How much of the processor a training step uses, stage by stage, beside a plain matrix product in the same run.

usage: python benchmarks/training.py CONFIG SHARD...      (a training config or preset, tars or globs of a build)

For each stage that the config has: FLOPs a sample (counted by torch over the forward and backward pass of a real batch), samples
a second, FLOP/s, and the share of what a product of bfloat16 matrices reaches here: rows as many as the step has tokens, the
sides of the language model's largest layer. Steps and products are timed in turns, the least of several counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from codi2_model import CoDi2ForConditionalGeneration, CoDi2Processor
from codi2_model.training.config import STAGES, TrainConfig
from codi2_model.training.data.mixture import Loader, Mixture
from codi2_model.training.data.shards import MediaCache, ShardSet, expand
from codi2_model.training.loop import Runtime, Stage, backward, thaw
from codi2_model.training.metrics.meter import Meter
from codi2_model.training.parallel import configure_layers
from codi2_model.training.run import STAGE_FACTORIES, train_texts
from codi2_model.training.warm_start import model_config

REPEATS, WARM_UP = 6, 6


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Product:
    """A product of bfloat16 matrices of a step's size."""

    def __init__(self, rows: int, inner: int, columns: int) -> None:
        self.left = torch.randn(rows, inner, dtype=torch.bfloat16)
        self.right = torch.randn(inner, columns, dtype=torch.bfloat16)
        self.flops = 2 * rows * inner * columns

    def __call__(self) -> None:
        torch.matmul(self.left, self.right)


def measure(stage: Stage, model: Any, config: TrainConfig, runtime: Runtime, product: Product) -> dict[str, float]:
    """FLOPs a sample, samples a second and FLOP/s of a stage's steps, and FLOP/s of the product."""
    options = config.stage(stage.name)
    thaw(stage, model)
    mixture = Mixture(stage.source.sizes, options.tasks, config.seed)
    cuts = options.accumulation
    loader = Loader(mixture, stage.source.load, options.batch_size // cuts, length=stage.length)

    def step() -> None:
        backward(stage, loader, options.accumulation, 0, runtime, Meter(0))
        model.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops()
    configure_layers(model, config)  # from here on compiled, where the config says so
    for _ in range(WARM_UP):
        step()
    pairs = [(timed(step), timed(product)) for _ in range(REPEATS)]
    seconds, plain = (min(column) for column in zip(*pairs, strict=True))
    size = options.batch_size
    return {
        "flops a sample": flops / size,
        "samples/s": size / seconds,
        "flop/s": flops / seconds,
        "product": product.flops / plain,
    }


def main(config_name: str, *shards: str) -> None:
    config = TrainConfig.from_yaml(config_name)
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    table = ShardSet(expand(shards))
    asked = model_config(config)
    processor = CoDi2Processor.build(asked, texts=train_texts(config, table))
    runtime = Runtime(torch.device("cpu"), precision=config.precision)
    print(f"{torch.get_num_threads()} threads, {config.precision}, compile: {config.compile}")
    print(f"{'stage':10} {'MFLOP a sample':>15} {'samples/s':>10} {'GFLOP/s':>9} {'product':>9} {'share':>6}")
    for name in STAGES:
        if config.stage(name).steps == 0:
            continue
        model = CoDi2ForConditionalGeneration.build(asked, seed=config.seed)
        stage = STAGE_FACTORIES[name](
            model, processor, table, MediaCache(table, processor.medium, config.cache_mb), config, runtime
        )
        width = asked.hidden_size
        product = Product(config.stage(name).batch_size * 40, width, int(asked.llm["intermediate_size"]))
        found = measure(stage, model, config, runtime, product)
        share = found["flop/s"] / found["product"]
        print(
            f"{name:10} {found['flops a sample'] / 1e6:15,.0f} {found['samples/s']:10.1f} {found['flop/s'] / 1e9:9.1f} "
            f"{found['product'] / 1e9:9.1f} {share:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
