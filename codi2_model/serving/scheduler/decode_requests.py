"""Decoding of features to media, batched over requests. A decode request has all inputs, so that any process can run it."""

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
    """One medium to decode: its features (slots, D), their hidden states (slots, H), references (K, ...) or None, settings.

    `number`: index of the medium in the reply. `noise`: seed of the decoder's noise.
    """

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
        """Requests with equal keys can share a batch."""
        return self.modality, self.steps, self.guidance, self.upscale


class DecodeJob:
    """A decode request of an active request, as the job of a decoder's stage."""

    def __init__(self, request: DecodeRequest, active: Any) -> None:
        self.request, self.active = request, active

    @property
    def cancelled(self) -> bool:
        return bool(self.active.gone)

    def fail(self, error: BaseException) -> None:
        self.active.fail(error)


def run_jobs(model: Any, jobs: Sequence[DecodeJob], half: bool = False) -> None:
    """Decode jobs with equal keys in one batch, in bfloat16 if `half`, and send progress to their requests."""

    def step(number: int, previews: list[Any] | None) -> bool:
        for n, job in enumerate(jobs):
            request = job.request
            preview = (
                previews[n] if previews and request.preview_every and number % request.preview_every == 0 else None
            )
            job.active.push(Progress(request.number, number, request.steps, preview))
        return not all(job.cancelled for job in jobs)

    media = decode(model, [job.request for job in jobs], step, half)
    for job, value in zip(jobs, media, strict=False):  # empty if all were cancelled
        job.active.push(MediumDone(job.request.number, job.request.modality, value))


@torch.no_grad()
def decode(model: Any, requests: Sequence[DecodeRequest], step: Step | None = None, half: bool = False) -> list[Any]:
    """Decode requests with equal keys, in bfloat16 if `half`. Returns one medium for each.

    `step` is called after every step with previews (or None). If it returns False, decoding ends and the result is empty.
    """
    with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
        return _decode(model, requests, step)


def _decode(model: Any, requests: Sequence[DecodeRequest], step: Step | None) -> list[Any]:
    first = requests[0]
    device = model.device
    inputs = [
        torch.stack([getattr(request, name).to(device) for request in requests]) for name in ("features", "states")
    ]
    features = model.condition(first.modality, *inputs)
    generators = [torch.Generator().manual_seed(request.noise) for request in requests]
    decoder = model.decoder(first.modality)
    sample = None
    sampler = decoder.sample_steps(features, _reference(requests, device), first.steps, first.guidance, generators)
    for number, sample in enumerate(sampler, start=1):
        is_due = number < first.steps and any(o.preview_every and number % o.preview_every == 0 for o in requests)
        previews = values(model, first.modality, decoder.finish(sample), first.upscale) if step and is_due else None
        if step is not None and not step(number, previews):
            return []
    return values(model, first.modality, decoder.finish(sample), first.upscale)


def _reference(requests: Sequence[DecodeRequest], device: torch.device) -> Reference | None:
    present = [request.reference for request in requests if request.reference is not None]
    if not present:
        return None
    empty = Reference(torch.zeros_like(present[0].media), torch.zeros_like(present[0].present))
    references = [request.reference or empty for request in requests]
    return Reference(
        *(torch.stack([getattr(reference, name) for reference in references]).to(device) for name in Reference._fields)
    )
