"""How much of a full build does a delta build cost? Full, then with changed pictures, then full again to compare bytes.

usage: python benchmarks/delta.py [RECIPE] [SHARE]      (share of the rows of pictures changed; 0 changes one row)
"""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import ImageOps

from codi2_datasets import build as library
from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.media import MediaError
from codi2_datasets.media.image import decode_image, normalise_image
from codi2_datasets.recipe import load_recipe
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


def main(recipe: str = "demo", share: str = "0.01") -> None:
    chosen = [choice.name for choice in load_recipe(recipe).corpora]
    chosen = chosen if float(share) else chosen[:1]
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as fresh:
        old, full = timed(recipe, root)
        before = tars(root, old)
        for name in chosen:
            corpora()[name] = Changed(corpora()[name], float(share))  # type: ignore[assignment]
        new, delta = timed(recipe, root)
        after = tars(root, new)
        changed = sum(corpora()[name].changed for name in chosen)  # type: ignore[attr-defined]
        again, _ = timed(recipe, fresh)
        same = after == tars(fresh, again)
    rewritten = sum(name not in before for name in after)
    print(
        f"{changed:,} rows changed: {delta:.1f} s of {full:.1f} s, {delta / full:.2f} of a full build; "
        f"{rewritten:,} of {len(after):,} tars written; bytes {'equal' if same else 'DIFFER from'} a full rebuild's"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
