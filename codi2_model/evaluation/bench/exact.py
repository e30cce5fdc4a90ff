"""Measures of an answer against the exact truth by modality, without a judge.

`EXACT[modality](question, answer, edits)` -> measure -> value. `edits` are the values of the candidates of edit@1, truth
first (empty if the task is not an edit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codi2_model.evaluation.bench.questions import Question
from codi2_model.evaluation.metrics.colour import delta_e, histogram_distance
from codi2_model.evaluation.metrics.edits import edit_score
from codi2_model.evaluation.metrics.motion import motion_agreement
from codi2_model.evaluation.metrics.shape import chamfer, foreground, iou
from codi2_model.evaluation.metrics.spectra import log_spectral_distance
from codi2_model.evaluation.text_scores import exact_match, names, token_f1

KEPT = 0.9  # minimum share of unchanged background for edit_kept
Scores = dict[str, float]


def pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image, resized to the size of the truth if necessary."""
    rgb = image.convert("RGB")
    return np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.LANCZOS))


def score_image(question: Question, answer: Image.Image, edits: Sequence[Image.Image]) -> Scores:
    """Shape, colour and edit measures of an image."""
    size = question.truth.size
    result, true = pixels(answer, size), pixels(question.truth, size)
    masks = foreground(result), foreground(true)
    scores = {"shape_iou": iou(*masks), "shape_chamfer": chamfer(*masks), "colour_error": delta_e(result, true)}
    scores["colour_distance"] = histogram_distance(result[masks[0]], true[masks[1]])
    if question.source is None or not edits:
        return scores
    errors = [delta_e(result, pixels(edit, size)) for edit in edits]
    right = errors[0] < min(errors[1:]) - 1e-9
    score = edit_score(pixels(question.source, size), true, result)
    scores["edit@1_signal"] = float(right)
    if score.kept is not None:
        scores |= {"background_kept": score.kept, "edit_kept": float(right and score.kept >= KEPT)}
    if score.progress is not None:
        scores["edit_progress"] = score.progress
    return scores


def score_audio(question: Question, answer: NDArray[np.float32], edits: Sequence[NDArray[np.float32]]) -> Scores:
    """Spectral and edit measures of an audio."""
    distance = log_spectral_distance(answer, question.truth)
    if not edits:
        return {"lsd": distance}
    right = distance < min(log_spectral_distance(answer, edit) for edit in edits[1:]) - 1e-9
    return {"lsd": distance, "edit@1_signal": float(right)}


def score_video(question: Question, answer: NDArray[np.uint8], edits: Sequence[Any]) -> Scores:
    """Motion agreement of a video."""
    return {"motion_agreement": motion_agreement(answer, question.truth)}


def score_text(question: Question, answer: str, edits: Sequence[Any]) -> Scores:
    """Text scores."""
    truth = question.truth
    return {
        "exact_match": exact_match(answer, truth),
        "token_f1": token_f1(answer, truth),
        "names_truth": names(answer, truth),
    }


EXACT: dict[str, Callable[[Question, Any, Sequence[Any]], Scores]] = {
    "image": score_image, "audio": score_audio, "video": score_video, "text": score_text,
}  # fmt: skip


@lru_cache(maxsize=1)
def unanswered() -> Scores:
    """Scores of a missing answer for measures in which a placeholder (white, silence) could score by chance."""
    return {"edit@1_signal": 0.0, "edit_kept": 0.0, "background_kept": 0.0, "edit_progress": -1.0}
