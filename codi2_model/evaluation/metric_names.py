"""Names of metrics that the gate decides by, and of the tasks some are measured on. Imports nothing: options are checked by them."""

from __future__ import annotations

TOP1 = "feature_top1"  # the predicted features lie nearest their own target
RETRIEVAL_TASKS = ("text_to_image", "exemplar_learning")
CONCEPT, STYLE, EDIT, SIMILARITY, ANSWERED = (
    "concept_top1", "style_top1", "nearer_target_than_input", "target_similarity", "answered",
)  # fmt: skip
