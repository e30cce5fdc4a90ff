"""Evaluation on held-out samples: independent judges, baselines, report pages.

`evaluate` is imported on first use, so importing the package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi2_model.evaluation.bench.bench import EvaluationResult, evaluate

__all__ = ["EvaluationResult", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'codi2_model.evaluation' has no attribute {name!r}")
    from codi2_model.evaluation.bench import bench

    return getattr(bench, name)
