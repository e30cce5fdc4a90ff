"""CoDi-2, an any-to-any model: encoders -> in-projection -> Llama -> feature head -> diffusion decoders.

The public names are imported on first use, so `import codi2_model` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi2_model.config import CoDi2Config
    from codi2_model.modeling import CoDi2ForConditionalGeneration, CoDi2Output
    from codi2_model.modules.batch import CoDi2Batch
    from codi2_model.processor import CoDi2Processor

_MODULES = {
    "CoDi2Batch": "codi2_model.modules.batch",
    "CoDi2Config": "codi2_model.config",
    "CoDi2ForConditionalGeneration": "codi2_model.modeling",
    "CoDi2Output": "codi2_model.modeling",
    "CoDi2Processor": "codi2_model.processor",
}

__all__ = ["CoDi2Batch", "CoDi2Config", "CoDi2ForConditionalGeneration", "CoDi2Output", "CoDi2Processor"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'codi2_model' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
