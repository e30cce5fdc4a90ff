"""What a result was made with, as text for the catalog: versions and the kind of machine, never whose machine it is."""

from __future__ import annotations

import json
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# packages that results may hang on
DECIDING = (
    "torch", "transformers", "diffusers", "tokenizers", "safetensors", "ray", "duckdb", "pyarrow", "numpy", "pillow", "soundfile",
    "resvg-py", "av",
)  # fmt: skip


@cache
def environment() -> str:
    """JSON with Python, system, processor, cores and the versions of the packages that results may hang on."""
    about: dict[str, object] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in DECIDING if (found := installed(name))},
    }
    return json.dumps(about, sort_keys=True)


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's model, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def differences(then: str | None, now: str | None) -> list[str]:
    """What differs between two environments, a line each: 'numpy 2.4.5 -> 2.4.6'."""
    old, new = json.loads(then or "{}"), json.loads(now or "{}")
    old, new = {**old, **old.pop("packages", {})}, {**new, **new.pop("packages", {})}
    return [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
