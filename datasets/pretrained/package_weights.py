"""Loads weights that ship inside packages; the packages' own code is mostly not imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codi2_datasets.pretrained.packages import PackageMissing, package_of, require


def package_file(package: str, relative: str) -> Path:
    """The path of a file in an installed package, located without importing it. Raises PackageMissing."""
    require("this", [package])
    spec, distribution = importlib.util.find_spec(package), package_of(package).wanted
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(f"{package} is not the package {distribution}, which this needs")
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise PackageMissing(f"the installed package {distribution} has no {relative}: install the version it is in")
    return path


def onnx_session(path: Path) -> Any:
    """An ONNX network on one thread: there is one worker per core, and one thread gives reproducible sums."""
    require("this", ["onnxruntime"])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread and without gradients: with more threads, sums differ in the last digits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
