"""Export formats for other tools. Each is one small file with a `FORMAT`; adding a file registers it.

A format writes items (a sample with its media by member name) to a folder, and reads such a folder back. What it cannot
represent is counted in a `Loss`, from the view of a reader that supports only that format. All formats also store the
whole sample in a field `codi2` that other tools ignore, so that `read` returns exactly the samples that were written.
Folders from other tools lack this field: `read` then makes samples from what the format contains.
"""

from __future__ import annotations

from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading
from codi2_datasets.exports.registry import formats

__all__ = ["ExportError", "Format", "Item", "Loss", "Reading", "formats"]
