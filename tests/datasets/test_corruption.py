"""Five of a hundred rows of a real corpus are damaged on purpose: each is in `rejects`, and nothing else is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from codi2_datasets import build as library
from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.sources.fetch import SourceUnavailable, fetch
from codi2_storage.catalog.catalog import Catalog

SHARE = 0.05


class Damaged:
    """A corpus of which every row whose locator hashes low has lost its second half, or all of its sense."""

    def __init__(self, whole: Corpus) -> None:
        self.whole, self.hit = whole, set[str]()
        for name in ("name", "version", "source", "companions", "licence", "description", "tasks", "size"):
            setattr(self, name, getattr(whole, name))

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        for row in self.whole.rows(package, companions):
            draw = int(sha256(row.locator)[:8], 16) / 2**32
            if isinstance(row, RejectedRow) or draw >= SHARE:
                yield row
                continue
            self.hit.add(row.locator)
            whole = bytes(row.payload)  # type: ignore[arg-type]
            yield replace(row, payload=whole[: len(whole) // 2] if draw < SHARE / 2 else b"\x00\xff" * 40)


@pytest.mark.parametrize("name", ["emoji-fxemoji", "sonic-pi-samples"])
def test_each_damaged_row_is_rejected_and_no_other_is_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    whole = corpora()[name]
    try:
        packages = {source: fetch(source).path for source in whole.companions}
        expected = [row for row in whole.rows(fetch(whole.source).path, packages) if isinstance(row, SourceRow)]
    except SourceUnavailable as error:
        pytest.skip(str(error))
    damaged = Damaged(whole)
    monkeypatch.setitem(corpora(), name, damaged)
    recipe = tmp_path / "recipe.yaml"
    task = {"emoji-fxemoji": "text_to_image", "sonic-pi-samples": "text_to_audio"}[name]
    settings = {"image": {"size": 32}, "audio": {"max_seconds": 1.0}, "tasks": {task: {"train": 40}}}
    recipe.write_text(yaml.safe_dump({"name": "damaged", "seed": 1, "corpora": [{"name": name}], **settings}))
    build = library.build(library.Settings(str(recipe), str(tmp_path / "root"), workers=2)).build_id

    catalog = Catalog(str(tmp_path / "root"))
    rejects = catalog.sql(
        "select subject, reason, error from rejects where reason = 'unreadable'", build=build
    ).to_pylist()
    assert 0.02 * len(expected) < len(damaged.hit) < 0.09 * len(expected)
    assert {row["subject"] for row in rejects} == {f"{name}:{locator}" for locator in damaged.hit}
    assert len(rejects) == len(damaged.hit) and all(row["error"] for row in rejects)
    # every other row is an asset, or the same media as one: the ledger says so for each
    kept = catalog.sql("select count(*) as n from assets where op is null", build=build).to_pylist()[0]["n"]
    twins = catalog.sql("select count(*) as n from rejects where stage = 'select'", build=build).to_pylist()[0]["n"]
    assert kept + twins == len(expected) - len(damaged.hit)
    assert catalog.sql(
        "select count(*) as n from op_runs where rows_in <> rows_out + rejected + failed"
    ).to_pylist() == [{"n": 0}]
