"""Evaluation: judges that the model never trained on, baselines beside every figure, pages to look at.

`evaluate` loads on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi2_model.evaluation.evaluator import EvaluationResult, evaluate

__all__ = ["EvaluationResult", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'codi2_model.evaluation' has no attribute {name!r}")
    from codi2_model.evaluation import evaluator

    return getattr(evaluator, name)
