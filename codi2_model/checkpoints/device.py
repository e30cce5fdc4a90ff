"""Device and thread count of a training run: the hardware settings on which its exact bits depend."""

from __future__ import annotations

import json
from pathlib import Path

from codi2_storage.locations.files import write_whole

FILE = "machine.json"


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
