"""Device: what a training run recorded of it, and whether it multiplies bfloat16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codi2_storage.locations.files import write_whole

if TYPE_CHECKING:
    import torch

FILE = "machine.json"

Precision = Literal["auto", "float32", "bfloat16"]


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16. `auto`: on GPUs, and on CPUs with instructions for it (AVX512-BF16 or AMX)."""
    import torch

    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def record_device(out: Path) -> None:
    """Add device and thread count of this process to the run's folder."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    attempt = {"device": device, "threads": torch.get_num_threads()}
    recorded = attempts(out)
    if attempt in recorded:
        return
    write_whole(out / FILE, json.dumps([*recorded, attempt]))


def attempts(out: Path) -> list[dict[str, str | int]]:
    """Distinct hardware settings of a run; more than one if it was resumed with other settings."""
    file = out / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def device_summary(out: Path) -> tuple[str | None, int | None]:
    """(device, threads of one worker) for the table `runs`. Threads are None if the run was resumed with other ones."""
    recorded = attempts(out)
    devices = sorted({str(attempt["device"]) for attempt in recorded})
    threads = {int(attempt["threads"]) for attempt in recorded}
    return ", ".join(devices) or None, threads.pop() if len(threads) == 1 else None
