"""Groups of styles that look alike: questions about style are asked only between different groups."""

from __future__ import annotations

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.edit_pairs import group_of


def style_group(style: str) -> str:
    """SQL for the group of the style in that column."""
    return group_of(attributes()["style"], style)
