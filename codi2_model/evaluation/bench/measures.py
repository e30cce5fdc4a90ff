"""Every measure of the bench by name: which way is better, and what it says. Formulas: `codi2_model.evaluation.metrics`."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """`says`: what a reader should know of it, in one line."""

    higher_is_better: bool
    says: str


UP, DOWN = True, False
MEASURES: dict[str, Measure] = {
    "answered": Measure(UP, "share of prompts with an answer of the wanted kind"),
    "similarity": Measure(UP, "cosine of the judge's embeddings of answer and truth"),
    "concept@1": Measure(UP, "the truth is nearest to the answer among targets of other families, by the judge"),
    "style@1": Measure(UP, "the truth is nearest among the same concept in other styles, by the judge"),
    "edit@1": Measure(UP, "the truth is nearest among the input and what other edits would give, by the judge"),
    "edit@1_signal": Measure(UP, "the same by colour difference (pictures) or log-spectral distance (sounds)"),
    "edit_kept": Measure(UP, "edit@1_signal is right and 90 % of the background is as it was"),
    "background_kept": Measure(UP, "share of pixels outside the true change that stayed as they were"),
    "edit_progress": Measure(UP, "share of the way from input to target inside the true change; below 0 is away from it"),
    "shape_iou": Measure(UP, "overlap of the foregrounds of answer and truth"),
    "shape_chamfer": Measure(DOWN, "distance of their outlines, as a part of the diagonal"),
    "colour_distance": Measure(DOWN, "1 - overlap of their CIELAB histograms, foreground alone"),
    "colour_error": Measure(DOWN, "mean CIE76 difference, pixel by pixel"),
    "lsd": Measure(DOWN, "log-spectral distance to the truth, log10 of power"),
    "kl": Measure(DOWN, "KL divergence of the judge's distributions over the candidates, in nats"),
    "frame_similarity": Measure(UP, "cosine of the judge's embeddings frame by frame, mean"),
    "motion_agreement": Measure(UP, "correlation of where and when answer and truth move"),
    "exact_match": Measure(UP, "the same words in the same order"),
    "token_f1": Measure(UP, "F1 of words"),
    "soft_match": Measure(UP, "cosine of MiniLM embeddings"),
    "names_truth": Measure(UP, "the true words occur in the answer"),
    "text_concept@1": Measure(UP, "the truth is nearest among other samples' replies, by MiniLM"),
    "frechet": Measure(DOWN, "Frechet distance of the judge's embeddings of all answers and all truths, shrunk"),
    "frechet_shrinkage": Measure(DOWN, "the weight of that shrinkage (the mean of both sides)"),
    "test_targets_in_train": Measure(DOWN, "different target media of the test split that a train sample shows"),
    "test_targets_like_train": Measure(DOWN, "the same, counting near-duplicates"),
}  # fmt: skip
CHOICES = ("concept@1", "style@1", "edit@1", "edit@1_signal", "text_concept@1")  # questions with candidates
GAIN = ".gain"  # paired difference to a baseline, above 0 where the model is better
_DECORATION = re.compile(r"^(?:(?:image|audio|video|text):)?(.+?)(?:\[demos=\d+\])?$")


def bare(metric: str) -> str:
    """The measure's name: 'image:concept@1[demos=2].gain' -> 'concept@1'."""
    found = _DECORATION.match(metric.removesuffix(GAIN))
    return found[1] if found else metric


def direction(metric: str) -> int:
    """1 where more is better, -1 where less is. Raises KeyError for an unknown measure."""
    return 1 if MEASURES[bare(metric)].higher_is_better else -1
