"""Two builds side by side: what came, what went, what stayed, and how a person is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_flows.cli.output.diff import format_diff
from codi2_storage.catalog.catalog import CatalogError
from codi2_storage.catalog.diff import Change, Move, Rewrite, changed, diff, flat
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

SPEC = {"seed": 1, "image": {"size": 64}, "corpora": [{"name": "c"}], "filters": [{"reject": "ink < 0.1"}]}


def publish(store: Store, build: str, spec: dict[str, Any], samples: list[str], sources: dict[str, str]) -> None:
    """A build over one corpus; `sources` are its files and what they hold."""
    revision = "-".join(sources.values())
    with Writer(store, f"c-{build}", "ingest") as writer:
        rows = [{"source_row_id": f"{n}{v}", "corpus": "c", "locator": n, "sha256": v} for n, v in sources.items()]
        writer.append("source_rows", rows)
        writer.append("corpora", [{"corpus": "c", "revision": revision}])
        writer.append("op_runs", [{"build_id": f"c-{build}", "stage": "ingest", "op": "normalise", "op_version": "1"}])
    with Writer(store, build, "build", uses=[f"c-{build}"], info={"created_at": build}) as writer:
        told = {"build_id": build, "recipe": "r", "code_version": build, "samples": len(samples)}
        writer.append("builds", [{**told, "spec": json.dumps(spec)}])
        writer.append("samples", [{"build_id": build, "sample_id": s, "task": "t", "split": "train"} for s in samples])
        writer.append("assets", [{"asset_id": f"{n}{v}", "corpus": "c"} for n, v in sources.items()])
        writer.append("assets", [{"asset_id": f"mix-{build}", "corpus": "c", "op": "mix"}])
        writer.append("rejects", [{"stage": "plan", "op": "t", "reason": "odd"}] * len(samples))
        version = str(len(spec["filters"]))
        writer.append("op_runs", [{"build_id": build, "stage": "select", "op": "filter", "op_version": version}])
        for start in range(0, len(samples), 2):
            name = "".join(samples[start : start + 2])
            told = {"shard": f"shards/t/{name}.tar", "task": "t", "split": "train", "bytes": 1000, "sha256": name}
            writer.append("shards", [told])


@pytest.fixture
def root(tmp_path: Path) -> str:
    store = Store(str(tmp_path))
    publish(store, "one", SPEC, ["a", "b", "c"], {"x": "1", "y": "1"})
    stricter = {**SPEC, "seed": 2, "filters": [{"reject": "ink < 0.1"}, {"reject": "size < 8"}]}
    publish(store, "two", stricter, ["a", "b", "d", "e", "f", "g", "h"], {"x": "1", "y": "2", "z": "1"})
    return str(tmp_path)


def test_what_was_asked_for_is_told_key_by_key(root: str) -> None:
    found = diff(root, "one", "two")
    assert found.recipe == [Change('filters[{"reject": "size < 8"}]', None, True), Change("seed", 1, 2)]
    assert found.build == [Change("code_version", "one", "two"), Change("samples", 3, 7)]
    assert found.corpora == [Change("c", "1-1", "1-2-1")]
    assert found.operators == [Change("select: filter", "1", "2")]
    assert found.rejects == [Change("plan: t: odd", 3, 7)]


def test_rows_that_came_went_or_changed_are_counted_and_the_first_are_named(root: str) -> None:
    found = diff(root, "one", "two")
    assert found.source_rows == [Move("c", 1, 1, 0, 1, ["z"], [], ["y"])]
    assert found.assets == [
        Move("c", 1, 2, 1, 0, ["y2", "z1"], ["y1"], []),
        Move("made by mix", 0, 1, 1, 0, ["mix-two"], ["mix-one"], []),
    ]
    assert found.samples == [Move("t train", 2, 5, 1, 0, ["d", "e", "f"], ["c"], [])]


def test_shards_that_both_builds_use_are_kept_and_the_others_weighed(root: str) -> None:
    assert diff(root, "one", "two").shards == [Rewrite("t train", 1, 3, 1, 1000, 3000, 1000)]


def test_a_build_does_not_differ_from_itself(root: str) -> None:
    assert not any(diff(root, "two", "two").to_dict().values())


def test_a_build_that_is_not_there_is_named(root: str) -> None:
    with pytest.raises(CatalogError, match="three"):
        diff(root, "one", "three")


def test_a_difference_is_told_in_lines_and_as_json(root: str) -> None:
    found = diff(root, "one", "two").to_dict()
    assert json.loads(json.dumps(found)) == found
    told = format_diff(found)
    assert "  seed                             1 -> 2 (+1)" in told
    assert "  c  kept 1, added 1 (z), changed 1 (y)" in told
    assert "  t train  kept 2, added 5 (d, e, f, ...), removed 1 (c)" in told
    assert "  t train  kept 1 (0.0 MB), written 3 (0.0 MB), removed 1 (0.0 MB)" in told
    assert format_diff(diff(root, "two", "two").to_dict()).startswith("unchanged: build, recipe, corpora")


names = st.text("abc", min_size=1, max_size=2)
values = st.recursive(st.integers() | st.booleans() | st.text(max_size=3), lambda inner: st.dictionaries(names, inner))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, values), st.permutations(["x", "y", "z"]))
def test_order_is_no_change(recipe: dict[str, Any], order: list[str]) -> None:
    listed = [{"name": name, "weight": len(name)} for name in order]
    unnamed = [{"reject": name} for name in order]
    old = flat({**recipe, "corpora_": sorted(listed, key=str), "filters_": sorted(unnamed, key=str)})
    new = flat({**dict(reversed(recipe.items())), "corpora_": listed, "filters_": unnamed})
    assert changed(old, new) == []


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.integers()), st.dictionaries(names, st.integers()))
def test_changes_lead_from_the_old_to_the_new(old: dict[str, int], new: dict[str, int]) -> None:
    made = dict(old)
    for change in changed(old, new):
        assert change.old == old.get(change.name) and change.new == new.get(change.name)
        made[change.name] = change.new
    assert {name: value for name, value in made.items() if value is not None} == new
