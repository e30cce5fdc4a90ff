"""How much of a full build does a delta build cost? Full, then with each change, and full again to compare bytes.

usage: python benchmarks/delta.py [RECIPE] [CHANGE...]
A change is `nothing`, `row` (one image), a share of the rows of images (0.01), or a task, one of whose templates changes.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import ImageOps

from codi2_datasets import build as library
from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image, normalise_image
from codi2_datasets.planning.templates import Template
from codi2_datasets.recipe import load_recipe
from codi2_datasets.tasks import planners
from codi2_storage.catalog.catalog import Catalog


class Changed:
    """A corpus some of whose pictures are mirrored."""

    def __init__(self, whole: Corpus, share: float) -> None:
        self.whole, self.share, self.changed = whole, share, 0
        for name in ("name", "source", "companions", "licence", "description", "tasks", "size"):
            setattr(self, name, getattr(whole, name))
        self.version = f"{whole.version}+changed"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        self.changed = 0
        for row in self.whole.rows(package, companions):
            draw = int(sha256(row.locator)[:8], 16) / 2**32
            hit = draw < self.share if self.share else not self.changed
            if isinstance(row, RejectedRow) or row.modality != "image" or not hit:
                yield row
                continue
            try:
                picture = decode_image(normalise_image(bytes(row.payload), row.media_type, 256))  # type: ignore[arg-type]
            except MediaError:
                yield row
                continue
            buffer = io.BytesIO()
            ImageOps.mirror(picture).save(buffer, "PNG")
            self.changed += 1
            yield replace(row, payload=buffer.getvalue(), media_type="image/png")


def change(named: str, recipe: str) -> None:
    """Change a share of the rows of images of every corpus, one row of the first corpus, or one template of a task."""
    if named == "nothing":
        return
    if named in planners():
        first, *others = planners()[named].templates
        said = Template(f"So: {first.turns[0]}", *first.turns[1:], kind=first.kind)
        planners()[named] = replace(planners()[named], templates=(said, *others))
        return
    chosen = [choice.name for choice in load_recipe(recipe).corpora]
    for name in chosen[:1] if named == "row" else chosen:
        corpora()[name] = Changed(corpora()[name], 0.0 if named == "row" else float(named))  # type: ignore[assignment]


@contextmanager
def changed(named: str, recipe: str) -> Iterator[None]:
    before = dict(corpora()), dict(planners())
    change(named, recipe)
    try:
        yield
    finally:
        for registry, entries in zip((corpora(), planners()), before, strict=True):
            registry.update(entries)  # type: ignore[attr-defined]


def timed(recipe: str, root: str) -> tuple[str, float]:
    start = time.perf_counter()
    build = library.build(library.Settings(recipe, root, workers=2)).build_id
    return build, time.perf_counter() - start


def tars(root: str, build: str) -> dict[str, str]:
    rows = Catalog(root).sql(
        "select shard from shards union select shard from assets where shard is not null", build=build
    )
    names = [row["shard"] for row in rows.to_pylist()]
    return {name: hashlib.sha256((Path(root) / name).read_bytes()).hexdigest() for name in names}


def plan_of(root: str, build: str) -> list[Any]:
    """Digests of the tables of the plan."""
    query = "select count(*), sum(hash(t)) from (select * from {}) t"
    with Catalog(root).connect(build) as connection:
        return [connection.execute(query.format(name)).fetchone() for name in ("plan", "samples", "assets", "rejects")]


def main(recipe: str = "demo", *changes: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = f"{folder}/whole"
        old, full = timed(recipe, whole)
        before = tars(whole, old)
        print(f"{'full':>16}: {full:6.1f} s, {len(before):,} tars", flush=True)
        for named in changes or ("nothing", "row", "0.01", "image_captioning"):
            root, fresh = f"{folder}/delta", f"{folder}/fresh"
            shutil.copytree(whole, root)
            with changed(named, recipe):
                new, delta = timed(recipe, root)
                again, _ = (new, 0.0) if new == old else timed(recipe, fresh)
            other = whole if new == old else fresh
            after = tars(root, new)
            same = after == tars(other, again) and plan_of(root, new) == plan_of(other, again)
            rewritten = sum(name not in before for name in after)
            print(
                f"{named:>16}: {delta:6.1f} s, {delta / full:.3f} of the full build; {rewritten:,} of {len(after):,} tars "
                f"written; bytes {'equal' if same else 'DIFFER from'} a full build's",
                flush=True,
            )
            for place in (root, fresh):
                shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
