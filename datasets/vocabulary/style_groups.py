"""Groups of styles that look alike: questions about style are asked only between different groups."""

from __future__ import annotations

from codi2_storage.catalog.sql import case, literal

# style -> group; a style that is not listed is a group of its own
ALIKE = {
    "Fluent": "Fluent",
    "Fluent 3D": "Fluent",
    "Fluent flat": "Fluent",
    "Fluent animated": "Fluent",
    "Noto": "Noto",
    "Noto v1": "Noto",
    "OpenMoji": "OpenMoji",
    "OpenMoji black": "black and white",
    "EmojiOne monotone": "black and white",
    "Fluent high contrast": "black and white",
}


def style_group(style: str) -> str:
    """SQL for the group of the style in that column."""
    return case(style, [(name, literal(seen)) for name, seen in ALIKE.items()], otherwise=style)
