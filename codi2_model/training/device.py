"""What a run computes on, as far as its bits hang on it: the device, and how many threads share a sum."""

from __future__ import annotations

import json
from pathlib import Path

from codi2_storage.locations.files import write_whole

FILE = "machine.json"


def note(out: Path) -> None:
    """Add where this attempt at a run computes to the run's folder."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    attempt = {"device": device, "threads": torch.get_num_threads()}
    seen = attempts(out)
    if attempt in seen:
        return
    write_whole(out / FILE, json.dumps([*seen, attempt]))


def attempts(out: Path) -> list[dict[str, str | int]]:
    """The different machines that a run was tried on; more than one where it went on elsewhere."""
    file = out / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def told(out: Path) -> tuple[str | None, int | None]:
    """(device, threads of one worker) for the table `runs`; threads are None where it went on with other ones."""
    seen = attempts(out)
    devices = sorted({str(one["device"]) for one in seen})
    threads = {int(one["threads"]) for one in seen}
    return ", ".join(devices) or None, threads.pop() if len(threads) == 1 else None
