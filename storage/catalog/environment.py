"""The software versions and hardware that a result was made with, as JSON for the catalog. It holds no host name."""

from __future__ import annotations

import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# packages whose version can change a result
DECIDING = (
    "torch", "transformers", "diffusers", "tokenizers", "safetensors", "ray", "duckdb", "pyarrow", "numpy", "pillow", "soundfile",
    "resvg-py", "av",
)  # fmt: skip


@cache
def environment() -> str:
    """JSON with Python, operating system, processor, cores, and versions of the packages that can change a result."""
    about: dict[str, object] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": {name: release for name in DECIDING if (release := installed(name))},
    }
    return json.dumps(about, sort_keys=True)


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's model name; empty if the system does not report it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def differences(then: str | None, now: str | None) -> list[str]:
    """The differences between two environments, one string each: 'numpy 2.4.5 -> 2.4.6'."""
    old, new = json.loads(then or "{}"), json.loads(now or "{}")
    old, new = {**old, **old.pop("packages", {})}, {**new, **new.pop("packages", {})}
    return [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
