"""Results of other edits of the same input, as candidates next to a derived truth.

The edits are those of single media in the test split of the build (a rotation, an echo, a change of speed), so a candidate is
the right answer to another instruction about the same input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.transforms import transforms
from codi2_model.evaluation.data import by_hash
from codi2_storage.catalog.catalog import Catalog

Edit = tuple[str, str]  # operator, parameters as JSON


def known_edits(catalog: Catalog, build: str) -> dict[str, list[Edit]]:
    """modality -> distinct edits of single media in the test split, ordered."""
    table = catalog.sql(
        """select distinct modality, op, params from assets
           where op is not null and split = 'test' and len(inputs) = 1 and shard is not null order by all""",
        build=build,
    )
    edits: dict[str, list[Edit]] = {}
    for row in table.to_pylist():
        edits.setdefault(row["modality"], []).append((row["op"], row["params"]))
    return edits


def other_edits(source: Any, truth: Any, edits: Sequence[Edit], count: int, seed: int) -> dict[str, Any]:
    """name -> result of up to `count` edits, picked by hash; all differ from each other, the source and the truth."""
    makers = transforms()
    named = {f"{op} {params}": (op, params) for op, params in edits if op in makers}
    seen = [_array(source), _array(truth)]
    results: dict[str, Any] = {}
    for name in by_hash(named, seed):
        if len(results) == count:
            break
        op, params = named[name]
        try:
            result = makers[op].make([_array(source)], json.loads(params))
        except MediaError:
            continue  # for example audio that is too short for this edit
        if not any(result.shape == other.shape and np.array_equal(result, other) for other in seen):
            seen.append(result)
            results[name] = Image.fromarray(result) if isinstance(source, Image.Image) else result
    return results


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.convert("RGB")) if isinstance(value, Image.Image) else np.asarray(value)
