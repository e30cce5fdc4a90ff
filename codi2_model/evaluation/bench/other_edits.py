"""What other edits would have made of the same input: rivals of a derived truth, made on the spot.

The edits are those of single media that the build's own test split holds (a rotation, an echo, a change of speed), so a
rival is a right answer to another instruction about the same input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.transforms import derivations
from codi2_model.evaluation.data import by_hash
from codi2_storage.catalog.catalog import Catalog

Edit = tuple[str, str]  # operator, parameters as JSON


def known_edits(catalog: Catalog, build: str) -> dict[str, list[Edit]]:
    """modality -> the different edits of one medium among the test split's assets, ordered."""
    table = catalog.sql(
        """select distinct modality, op, params from assets
           where op is not null and split = 'test' and len(inputs) = 1 and shard is not null order by all""",
        build=build,
    )
    found: dict[str, list[Edit]] = {}
    for row in table.to_pylist():
        found.setdefault(row["modality"], []).append((row["op"], row["params"]))
    return found


def other_edits(source: Any, truth: Any, edits: Sequence[Edit], count: int, seed: int) -> dict[str, Any]:
    """Up to `count` different results, by name, in an order by hash; none equal to the source or the truth."""
    makers = derivations()
    named = {f"{op} {params}": (op, params) for op, params in edits if op in makers}
    seen = [_array(source), _array(truth)]
    found: dict[str, Any] = {}
    for name in by_hash(named, seed):
        if len(found) == count:
            break
        op, params = named[name]
        try:
            made = makers[op].make([_array(source)], json.loads(params))
        except MediaError:
            continue  # too short a sound for this edit, say
        if not any(made.shape == other.shape and np.array_equal(made, other) for other in seen):
            seen.append(made)
            found[name] = Image.fromarray(made) if isinstance(source, Image.Image) else made
    return found


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.convert("RGB")) if isinstance(value, Image.Image) else np.asarray(value)
