"""Does writing a sample cost the same in a small dataset and in a large one? Both planned and written in one run.

usage: python benchmarks/scaling.py ROOT [RECIPE] [SAMPLES...]      (a root that holds the recipe's latest build)
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from codi2_datasets.recipe import load_recipe
from codi2_datasets.runtime.ray_executor import local_cluster
from codi2_datasets.steps.plan import plan
from codi2_datasets.steps.select import select
from codi2_datasets.steps.write import plan_shards, write
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store


def main(root: str, recipe_name: str = "full", *samples: str) -> None:
    recipe, catalog = load_recipe(recipe_name), Catalog(root)
    uses = catalog.builds()[-1].uses
    first = None
    with local_cluster(2):
        for total in [int(number) for number in samples] or [10_000, 300_000]:
            # as many of every task in proportion, and no task so large that it runs out of candidates
            asked = replace(recipe, mixture=replace(recipe.mixture, total=total, temperature=4.0))
            with tempfile.TemporaryDirectory() as folder, catalog.connect(only=uses) as connection:
                (Path(folder) / "assets").symlink_to(Path(root).resolve() / "assets")
                select(connection, "benchmark", asked)
                plan(connection, "benchmark", asked)
                start = time.perf_counter()
                plan_shards(connection, asked)
                receipts, _ = write(connection, Store(folder), "benchmark", 2)
                seconds = time.perf_counter() - start
            written = sum(receipt.samples for receipt in receipts)
            each = seconds / written * 1e3
            first = first or each
            print(
                f"{written:>9,} samples in {len(receipts):,} shards: {seconds:6.1f} s, {each:.3f} ms a sample, "
                f"{each / first:.2f} of the first"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
