"""Formats that other tools read. Each is one small file with a `FORMAT`; adding a file adds the format.

A format writes items (a sample with its media by member name) into a folder, and reads such a folder back. What it
cannot hold is counted in a `Loss`, as a reader sees it who knows that format alone. All carry the whole sample beside,
in a field `codi2` that others pass over: so `read` gives back the very samples that were written. Folders of others
have no such field: from those `read` makes samples of what the format says, as far as it says it.
"""

from __future__ import annotations

from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading
from codi2_datasets.exports.registry import formats

__all__ = ["ExportError", "Format", "Item", "Loss", "Reading", "formats"]
