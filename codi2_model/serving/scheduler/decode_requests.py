"""Features -> media, for any requests together: an order says all that a decoder needs, so it may run anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codi2_model.decoders import Reference
from codi2_model.generation.decode_loop import values
from codi2_model.generation.events import MediumDone, Progress

Step = Callable[[int, list[Any] | None], bool]


@dataclass(frozen=True)
class DecodeRequest:
    """One medium to decode: its features (slots, D), the hidden states (slots, H) behind them, the references (K, ...) that it
    keeps to (or None), and how."""

    modality: str
    number: int
    features: torch.Tensor
    states: torch.Tensor
    reference: Reference | None
    steps: int
    guidance: float
    noise: int
    preview_every: int = 0
    upscale: bool = True

    def key(self) -> tuple[Any, ...]:
        """Orders of like keys share a batch."""
        return self.modality, self.steps, self.guidance, self.upscale


class DecodeJob:
    """An order of a turn, on its way through a decoder's stage."""

    def __init__(self, order: DecodeRequest, turn: Any) -> None:
        self.order, self.turn = order, turn

    @property
    def cancelled(self) -> bool:
        return bool(self.turn.gone)

    def fail(self, error: BaseException) -> None:
        self.turn.fail(error)


def run_jobs(model: Any, jobs: Sequence[DecodeJob]) -> None:
    """Decode jobs of like keys together, telling each turn how far its medium is."""

    def step(number: int, previews: list[Any] | None) -> bool:
        for n, job in enumerate(jobs):
            order = job.order
            shown = previews[n] if previews and order.preview_every and number % order.preview_every == 0 else None
            job.turn.push(Progress(order.number, number, order.steps, shown))
        return not all(job.cancelled for job in jobs)

    made = decode(model, [job.order for job in jobs], step)
    for job, value in zip(jobs, made, strict=False):  # none where all were cancelled
        job.turn.push(MediumDone(job.order.number, job.order.modality, value))


@torch.no_grad()
def decode(model: Any, orders: Sequence[DecodeRequest], step: Step | None = None) -> list[Any]:
    """Values of orders of like keys. `step` hears of every step, with what there is so far, and may end it: then none."""
    first = orders[0]
    device = model.device
    heard = [torch.stack([getattr(order, name).to(device) for order in orders]) for name in ("features", "states")]
    features = model.aligners[first.modality](*heard)
    generators = [torch.Generator().manual_seed(order.noise) for order in orders]
    decoder = model.decoder(first.modality)
    made = None
    sampler = decoder.sample_steps(features, _reference(orders, device), first.steps, first.guidance, generators)
    for number, made in enumerate(sampler, start=1):
        shown = number < first.steps and any(o.preview_every and number % o.preview_every == 0 for o in orders)
        previews = values(model, first.modality, decoder.finish(made), first.upscale) if step and shown else None
        if step is not None and not step(number, previews):
            return []
    return values(model, first.modality, decoder.finish(made), first.upscale)


def _reference(orders: Sequence[DecodeRequest], device: torch.device) -> Reference | None:
    present = [order.reference for order in orders if order.reference is not None]
    if not present:
        return None
    nothing = Reference(torch.zeros_like(present[0].media), torch.zeros_like(present[0].present))
    found = [order.reference or nothing for order in orders]
    media, there = (torch.stack([getattr(one, name) for one in found]).to(device) for name in Reference._fields)
    return Reference(media, there)
