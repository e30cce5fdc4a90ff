"""How long does planning take, and how much memory, as the samples grow? No byte of media moves.

usage: python benchmarks/planning.py ROOT [RECIPE] [SAMPLES...]      (a root that holds the recipe's latest build)
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

from codi2_datasets.recipe import load_recipe
from codi2_datasets.steps.plan import plan
from codi2_datasets.steps.select import select
from codi2_storage.catalog.catalog import Catalog


def main(root: str, recipe_name: str = "demo", *samples: str) -> None:
    recipe = load_recipe(recipe_name)
    catalog = Catalog(root)
    uses = catalog.builds()[-1].uses
    first = None
    for total in [int(number) for number in samples] or [10_000, 100_000]:
        asked = replace(recipe, mixture=replace(recipe.mixture, total=total, temperature=2.0))
        with catalog.connect(only=uses) as connection:
            connection.execute("set threads = 2; set memory_limit = '5GB'")
            start = time.perf_counter()
            select(connection, "benchmark", asked)
            selected = time.perf_counter()
            plan(connection, "benchmark", asked)
            seconds = time.perf_counter() - start
            row = connection.execute("select count(*) from planned_samples").fetchone() or (0,)
            slow = connection.execute(
                "select op, seconds from ledger where stage = 'plan' order by seconds desc limit 4"
            )
            slowest = ", ".join(f"{op} {taken:.1f}" for op, taken in slow.fetchall())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        each = seconds / row[0] * 1e6
        first = first or each
        print(
            f"{row[0]:>9,} samples: {seconds:5.1f} s (select {selected - start:.1f}), {each:5.0f} us a sample, "
            f"{each / first:.2f} of the first; peak {peak:.1f} GiB; slowest: {slowest}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
