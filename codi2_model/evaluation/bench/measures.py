"""Measures of the benchmark: direction and description. Formulas: `codi2_model.evaluation.metrics`."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measure: whether higher is better, and a description in one line."""

    higher_is_better: bool
    description: str


UP, DOWN = True, False
MEASURES: dict[str, Measure] = {
    "answered": Measure(UP, "share of prompts with an answer of the requested modality"),
    "similarity": Measure(UP, "cosine of the judge's embeddings of answer and truth"),
    "concept@1": Measure(UP, "the truth is nearest to the answer among targets of other families, by the judge"),
    "style@1": Measure(UP, "the truth is nearest among the same concept in other styles, by the judge"),
    "edit@1": Measure(UP, "the truth is nearest among the input and the results of other edits, by the judge"),
    "recall@1": Measure(UP, "the truth, an earlier medium, is nearest among the media of the conversation, by the judge"),
    "edit@1_signal": Measure(UP, "as edit@1, by colour difference (images) or log-spectral distance (audio)"),
    "edit_kept": Measure(UP, "edit@1_signal is right and 90 % of the background is unchanged"),
    "background_kept": Measure(UP, "share of unchanged pixels outside the true change"),
    "edit_progress": Measure(UP, "share of the difference from input to target covered within the true change; below 0: further away"),
    "shape_iou": Measure(UP, "overlap of the foregrounds of answer and truth"),
    "shape_chamfer": Measure(DOWN, "distance of their outlines, relative to the diagonal"),
    "colour_distance": Measure(DOWN, "1 - overlap of the CIELAB histograms of the foregrounds"),
    "colour_error": Measure(DOWN, "mean CIE76 difference, pixel by pixel"),
    "lsd": Measure(DOWN, "log-spectral distance to the truth, log10 of power"),
    "kl": Measure(DOWN, "KL divergence of the judge's distributions over the candidates, in nats"),
    "frame_similarity": Measure(UP, "mean cosine of the judge's embeddings frame by frame"),
    "motion_agreement": Measure(UP, "correlation of the motion of answer and truth over space and time"),
    "exact_match": Measure(UP, "equal words in equal order"),
    "token_f1": Measure(UP, "F1 of words"),
    "soft_match": Measure(UP, "cosine of MiniLM embeddings"),
    "names_truth": Measure(UP, "the answer contains the words of the truth"),
    "text_concept@1": Measure(UP, "the truth is nearest among other samples' replies, by MiniLM"),
    "frechet": Measure(DOWN, "Frechet distance of the judge's embeddings of all answers and all truths, with shrinkage"),
    "frechet_shrinkage": Measure(DOWN, "weight of that shrinkage, averaged over both sides"),
    "test_targets_in_train": Measure(DOWN, "distinct target media of the test split that occur in train samples"),
    "test_targets_like_train": Measure(DOWN, "as test_targets_in_train, by near-duplicates"),
}  # fmt: skip
SETS = (
    "frechet",
    "frechet_shrinkage",
    "test_targets_in_train",
    "test_targets_like_train",
)  # measures without a score per sample
HEADLINE = (
    "edit@1",
    "concept@1",
    "names_truth",
    "token_f1",
    "lsd",
    "motion_agreement",
)  # a task's main measure: the first of these that it has
CHOICES = ("concept@1", "style@1", "edit@1", "recall@1", "edit@1_signal", "text_concept@1")  # questions with candidates
GAIN = ".gain"  # suffix of the paired difference to a baseline; above 0 if the model is better
_DECORATION = re.compile(r"^(?:(?:image|audio|video|text):)?(.+?)(?:\[(?:demos|place)=\d+\])?$")


def bare(metric: str) -> str:
    """Name of a measure without prefix and suffixes: 'image:concept@1[demos=2].gain' -> 'concept@1'."""
    match = _DECORATION.match(metric.removesuffix(GAIN))
    return match[1] if match else metric


def direction(metric: str) -> int:
    """1 if higher is better, -1 if lower is. Raises KeyError for an unknown measure."""
    return 1 if MEASURES[bare(metric)].higher_is_better else -1
