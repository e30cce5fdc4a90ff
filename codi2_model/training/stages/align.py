"""Stage `align`: contrastive training of the encoders on images, audio and video with captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from codi2_model.encoders import scale_norm
from codi2_model.modules.losses import align_loss
from codi2_model.training.config import TrainConfig
from codi2_model.training.data.mixture import Draw
from codi2_model.training.data.shards import MediaCache, ShardSet
from codi2_model.training.data.sources import CaptionedMedia
from codi2_model.training.loop import Runtime, Stage, move


class _Gather(torch.autograd.Function):
    """All-gather with gradient. Every worker computes the same loss, so the gradients are summed."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
        counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(runtime.world)]
        torch.distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(parts, padded)
        ctx.own_rows = slice(sum(sizes[: runtime.rank]), sum(sizes[: runtime.rank + 1]))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = grads[0].contiguous()
        torch.distributed.all_reduce(total)
        return total[ctx.own_rows], None


def gather(rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Rows (n, …) of this worker -> rows (N, …) of all workers, so that the whole batch provides negatives."""
    if runtime.world == 1:
        return rows
    # float32, because a worker without samples of the modality has float32 rows: sizes of messages must be equal
    return _Gather.apply(rows.float() if rows.is_floating_point() else rows, runtime)


class Pairs(NamedTuple):
    """Vectors (N, D) of media and of their captions, and the reconstruction loss of encoders with a sketch decoder."""

    media: torch.Tensor
    text: torch.Tensor
    sketch: torch.Tensor | None


def encode_pairs(model: Any, modality: str, batch: dict[str, torch.Tensor]) -> Pairs:
    """Encode media and captions of one modality."""
    encoders = model.encoders
    features = encoders.features(modality, batch["media"])
    pooled = scale_norm(features.mean(dim=1), encoders.scale)
    sketch = encoders.sketches[modality].loss(features, batch["media"]) if modality in encoders.sketches else None
    return Pairs(pooled, model.encode_text(batch["ids"], batch["mask"]), sketch)


def align_stage(
    model: Any, processor: Any, shards: ShardSet, cache: MediaCache, config: TrainConfig, runtime: Runtime
) -> Stage:
    """Create the stage `align`."""
    options = config.align
    source = CaptionedMedia(shards, cache, processor, options.tasks, "train", config.seed)
    held_out = CaptionedMedia(shards, cache, processor, options.tasks, "validation", config.seed)
    encoders = model.encoders

    def counts(draws: Sequence[Draw], step: int) -> dict[str, float]:
        """Number of media to reconstruct. Contrastive losses are not sums over media and have no count."""
        media = Counter(source.items[draw.task][draw.index].medium.part.type for draw in draws)
        return {f"{modality}_sketch": float(n) for modality, n in media.items() if modality in encoders.sketches}

    def losses(batch: dict[str, dict[str, torch.Tensor]], counts: Mapping[str, float]) -> dict[str, torch.Tensor]:
        """Every worker computes the contrastive loss of the whole batch, and contributes 1 / world of it."""
        values = {}
        for modality in source.modalities:  # in the same order on every worker, also without samples of it
            if modality in batch:
                media, text, sketch = encode_pairs(model, modality, batch[modality])
                groups = batch[modality]["groups"]
                if sketch is not None:
                    share = len(media) / counts[f"{modality}_sketch"]
                    values[f"{modality}_sketch"] = sketch * share
            elif runtime.world > 1:
                media = torch.zeros(0, model.config.feature_dim, device=runtime.device, requires_grad=True)
                text, groups = media * 1.0, torch.zeros(0, dtype=torch.long, device=runtime.device)
            else:
                continue
            media, text, groups = gather(media, runtime), gather(text, runtime), gather(groups, runtime)
            if len(media) >= 2:
                values[modality] = align_loss(media, text, encoders.log_temperature, groups) / runtime.world
        return values

    def evaluate() -> dict[str, float]:
        """Per modality: the losses, and how often the nearest caption of a medium is its own (`recall`)."""
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
