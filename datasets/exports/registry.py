"""Registry of export formats."""

from __future__ import annotations

from functools import cache

from codi2_datasets.exports.base import Format
from codi2_datasets.runtime.plugins import Kind

KIND = Kind("exports", "codi2_datasets.exports", "FORMAT")


@cache
def formats() -> dict[str, Format]:
    """All formats, by name."""
    return KIND.parts()
