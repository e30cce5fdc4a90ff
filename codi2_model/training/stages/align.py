"""Stage 1: the encoders learn to bind pictures and sounds to words, by contrast within the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from codi2_model.encoders import to_sphere
from codi2_model.modules.losses import align_loss
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import CaptionedMedia
from codi2_model.training.loop import Runtime, Stage, move


class _Gather(torch.autograd.Function):
    """Rows of all workers, with gradient. Every worker computes the same loss, so the gradients add up."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
        counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(runtime.world)]
        torch.distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(parts, padded)
        ctx.mine = slice(sum(sizes[: runtime.rank]), sum(sizes[: runtime.rank + 1]))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = grads[0].contiguous()
        torch.distributed.all_reduce(total)
        return total[ctx.mine], None


def gather(rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """(n, …) of this worker -> (N, …) of all workers, so that the negatives are those of the whole batch."""
    if runtime.world == 1:
        return rows
    # in bfloat16, a worker whose share has none of a modality would else send rows of another size than the others
    return _Gather.apply(rows.float() if rows.is_floating_point() else rows, runtime)


class Pairs(NamedTuple):
    """Vectors (N, D) of media and of their captions, and how far the media can be drawn from their features."""

    media: torch.Tensor
    text: torch.Tensor
    sketch: torch.Tensor | None


def encode_pairs(model: Any, modality: str, batch: dict[str, torch.Tensor]) -> Pairs:
    encoders = model.encoders
    features = encoders.features(modality, batch["media"])
    pooled = to_sphere(features.mean(dim=1), encoders.scale)
    sketch = encoders.sketches[modality].loss(features, batch["media"]) if modality in encoders.sketches else None
    return Pairs(pooled, model.encode_text(batch["ids"], batch["mask"]), sketch)


def align_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    options = config.align
    source = CaptionedMedia(shards, cache, processor, options.tasks, "train", config.seed)
    held_out = CaptionedMedia(shards, cache, processor, options.tasks, "validation", config.seed)
    encoders = model.encoders

    def counts(draws: Sequence[Draw], step: int) -> dict[str, float]:
        """Media to draw. The contrastive losses are no sums over media, and have none."""
        found = Counter(source.items[draw.task][draw.index].place.part.type for draw in draws)
        return {f"{modality}_sketch": float(n) for modality, n in found.items() if modality in encoders.sketches}

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        """Contrast is within the batch of all workers, whose loss each of them computes: each holds an equal part of it."""
        found = {}
        for modality in source.modalities:  # in the same order on every worker, also where its share has none
            if modality in batch:
                media, text, sketch = encode_pairs(model, modality, batch[modality])
                groups = batch[modality]["groups"]
                if sketch is not None:
                    share = len(media) / counts[f"{modality}_sketch"]
                    found[f"{modality}_sketch"] = sketch * share
            elif runtime.world > 1:
                media = torch.zeros(0, model.config.feature_dim, device=runtime.device, requires_grad=True)
                text, groups = media * 1.0, torch.zeros(0, dtype=torch.long, device=runtime.device)
            else:
                continue
            media, text, groups = gather(media, runtime), gather(text, runtime), gather(groups, runtime)
            if len(media) >= 2:
                found[modality] = align_loss(media, text, encoders.log_temperature, groups) / runtime.world
        return found

    def evaluate() -> dict[str, float]:
        """Per modality: the loss, and how often a medium's own caption is its nearest (`recall`, of n)."""
        scores = {}
        for modality in held_out.modalities:
            draws = [Draw(t, i, i) for t, n in held_out.sizes.items() for i in range(min(n, options.eval_samples))]
            batch = held_out.load(draws).get(modality)
            if batch is None or len(batch["ids"]) < 2:
                continue
            batch = move(batch, runtime.device)
            media, text, sketch = encode_pairs(model, modality, batch)
            if sketch is not None:
                scores[f"{modality}_sketch"] = float(sketch)
            groups = batch["groups"]
            scores[modality] = float(align_loss(media, text, encoders.log_temperature, groups))
            nearest = (F.normalize(media, dim=-1) @ F.normalize(text, dim=-1).T).argmax(dim=1)
            scores[f"{modality}_recall"] = float((groups[nearest] == groups).float().mean())
        return scores

    weights = {name: options.loss_weights.get(name, 1.0) for name in options.losses()}
    return Stage("align", [encoders], source, counts, losses, weights, evaluate)
