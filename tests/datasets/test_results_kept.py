"""Results are kept by their inputs and the versions of what made them: equal ones are found, a changed operator runs again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from codi2_datasets import build as library
from codi2_datasets.operators import operators
from codi2_datasets.steps import enrich

RECIPE = {
    "name": "kept", "seed": 3, "corpora": [{"name": "emoji-fxemoji"}], "image": {"size": 32}, "signals": [{"op": "phash"}],
    "tasks": {"text_to_image": {"train": 4, "validation": 1, "test": 1}},
}  # fmt: skip


def test_a_changed_operator_version_runs_again_and_an_equal_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "kept.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    settings = library.Settings(str(recipe), str(tmp_path / "root"), 1, 12)
    measured: list[str] = []
    real = enrich.measure
    monkeypatch.setattr(enrich, "measure", lambda item: measured.append(item.id) or real(item))

    def made() -> tuple[str, list[str]]:
        measured.clear()
        prepared = library.prepare(settings)
        with library.cluster_when_needed(1):
            library.ingest(prepared)
        return prepared.build_id, list(measured)

    first, work = made()
    assert work
    assert made() == (first, [])
    changed = {**operators(), "phash": replace(operators()["phash"], version="another")}
    for module in (enrich, library):
        monkeypatch.setattr(module, "operators", lambda: changed)
    second, again = made()
    assert second != first and len(again) == len(work) and set(again).isdisjoint(work)
