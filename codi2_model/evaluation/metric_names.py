"""Names of the gate's metrics and of the tasks they are measured on. Without imports, for the validation of options."""

from __future__ import annotations

TOP1 = "feature_top1"  # share of predicted features that are nearest to their own target
RETRIEVAL_TASKS = ("text_to_image", "exemplar_learning")
CONCEPT, STYLE, EDIT, SIMILARITY, ANSWERED = (
    "concept_top1", "style_top1", "nearer_target_than_input", "target_similarity", "answered",
)  # fmt: skip
