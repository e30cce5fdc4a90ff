"""Measures of one answer against the exact truth, by kind of medium. No judge is asked.

`EXACT[modality](question, answer, rivals)` -> measure -> value. `rivals` are the values of the edit's candidates, truth
first (none where the task is no edit).
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

KEPT = 0.9  # share of the background that an edit may not fall below
Scores = dict[str, float]


def pixels(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) at the truth's size: pictures of a decoder that works at another size are compared there."""
    rgb = picture.convert("RGB")
    return np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.LANCZOS))


def score_picture(question: Question, answer: Image.Image, rivals: Sequence[Image.Image]) -> Scores:
    size = question.truth.size
    made, true = pixels(answer, size), pixels(question.truth, size)
    masks = foreground(made), foreground(true)
    scores = {"shape_iou": iou(*masks), "shape_chamfer": chamfer(*masks), "colour_error": delta_e(made, true)}
    scores["colour_distance"] = histogram_distance(made[masks[0]], true[masks[1]])
    if question.source is None or not rivals:
        return scores
    errors = [delta_e(made, pixels(rival, size)) for rival in rivals]
    right = errors[0] < min(errors[1:]) - 1e-9
    edit = edit_score(pixels(question.source, size), true, made)
    scores["edit@1_signal"] = float(right)
    if edit.kept is not None:
        scores |= {"background_kept": edit.kept, "edit_kept": float(right and edit.kept >= KEPT)}
    if edit.progress is not None:
        scores["edit_progress"] = edit.progress
    return scores


def score_sound(question: Question, answer: NDArray[np.float32], rivals: Sequence[NDArray[np.float32]]) -> Scores:
    apart = log_spectral_distance(answer, question.truth)
    if not rivals:
        return {"lsd": apart}
    right = apart < min(log_spectral_distance(answer, rival) for rival in rivals[1:]) - 1e-9
    return {"lsd": apart, "edit@1_signal": float(right)}


def score_clip(question: Question, answer: NDArray[np.uint8], rivals: Sequence[Any]) -> Scores:
    return {"motion_agreement": motion_agreement(answer, question.truth)}


def score_words(question: Question, answer: str, rivals: Sequence[Any]) -> Scores:
    truth = question.truth
    return {
        "exact_match": exact_match(answer, truth),
        "token_f1": token_f1(answer, truth),
        "names_truth": names(answer, truth),
    }


EXACT: dict[str, Callable[[Question, Any, Sequence[Any]], Scores]] = {
    "image": score_picture, "audio": score_sound, "video": score_clip, "text": score_words,
}  # fmt: skip


@lru_cache(maxsize=1)
def unanswered() -> Scores:
    """What no answer earns where the stand-in (white paper, silence) might earn something by luck."""
    return {"edit@1_signal": 0.0, "edit_kept": 0.0, "background_kept": 0.0, "edit_progress": -1.0}
