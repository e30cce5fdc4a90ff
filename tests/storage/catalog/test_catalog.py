"""Manifests and the catalog: visible when committed, all or nothing, no lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_storage.catalog.catalog import Catalog, CatalogError
from codi2_storage.commits.manifests import Writer, committed, write_manifest
from codi2_storage.store import Store
from codi2_storage.tables import TABLES, SchemaError, as_table


def sample(n: int, build: str = "b1") -> dict:
    return {"build_id": build, "sample_id": f"s{n}", "task": "text_to_image", "split": "train", "n_parts": 2}


def test_every_table_can_be_queried_in_an_empty_root(tmp_path: Path) -> None:
    catalog = Catalog(str(tmp_path))
    for table in TABLES:
        assert catalog.sql(f'select * from "{table}"').num_rows == 0


def test_rows_are_visible_after_the_commit_and_not_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Writer(store, "b1", "build") as writer:
        writer.append("samples", [sample(1), sample(2)])
        assert Catalog(store).sql("select * from samples").num_rows == 0
    assert Catalog(store).sql("select * from samples").num_rows == 2


def test_rows_written_before_a_table_had_all_its_columns_have_null_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Writer(store, "b1", "build") as writer:
        writer.append("builds", [{"build_id": "b1", "recipe": "demo"}])
    [file] = tmp_path.glob("catalog/builds/*/*.parquet")
    pq.write_table(pa.table({"build_id": ["b1"], "recipe": ["demo"]}), file)
    assert Catalog(store).sql("select recipe, environment from builds").to_pylist() == [
        {"recipe": "demo", "environment": None}
    ]


def test_an_exception_commits_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), Writer(store, "b1", "build") as writer:
        writer.append("samples", [sample(1)])
        raise RuntimeError
    assert committed(store, "b1", "build") is None
    assert Catalog(store).sql("select * from samples", all_builds=True).num_rows == 0


def test_queries_see_the_latest_build_unless_told_otherwise(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n, build in enumerate(("old", "new")):
        with Writer(store, build, "build", info={"created_at": f"2026-01-0{n + 1}"}) as writer:
            writer.append("samples", [sample(n, build)])
    catalog = Catalog(store)

    def seen(**options: object) -> list[str]:
        return sorted(row["build_id"] for row in catalog.sql("select build_id from samples", **options).to_pylist())

    assert seen() == ["new"] and seen(build="old") == ["old"] and seen(all_builds=True) == ["new", "old"]
    with pytest.raises(CatalogError, match="no published build 'none'"):
        seen(build="none")


def test_a_build_sees_the_ingests_it_uses_and_no_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        with Writer(store, f"ingest-{name}", "ingest") as writer:
            writer.append("corpora", [{"corpus": name}])
    with Writer(store, "b1", "build", uses=["ingest-one"]):
        pass
    assert Catalog(store).sql("select corpus from corpora").to_pylist() == [{"corpus": "one"}]


@pytest.mark.parametrize(
    "query", ["drop view samples", "insert into samples select 1", "select 1; select 2", "nonsense"]
)
def test_only_one_query_is_served(tmp_path: Path, query: str) -> None:
    with pytest.raises(CatalogError):
        Catalog(str(tmp_path)).sql(query)


def test_a_query_in_capitals_a_list_of_tables_and_a_misspelled_table_are_served_as_ever(tmp_path: Path) -> None:
    """Only tables that a query names get a view; where it names none, all do."""
    store = Store(tmp_path)
    with Writer(store, "b1", "build") as writer:
        writer.append("samples", [sample(1)])
    catalog = Catalog(store)
    joined = 'SELECT s.sample_id FROM SAMPLES AS s LEFT JOIN "parts" USING (sample_id)'
    assert catalog.sql(joined).to_pylist() == [{"sample_id": "s1"}]
    assert {row["name"] for row in catalog.sql("show tables").to_pylist()} == set(TABLES)
    with pytest.raises(CatalogError, match='Did you mean "samples"'):
        catalog.sql("select * from smaples")


def test_rows_that_do_not_fit_name_the_table_and_the_column() -> None:
    with pytest.raises(SchemaError, match="'samples' has no column colour"):
        as_table("samples", [{"colour": 1}])
    with pytest.raises(SchemaError, match="unknown table 'nope'"):
        as_table("nope", [])
    with pytest.raises(SchemaError, match="'samples'"):
        as_table("samples", pa.table({"n_parts": ["many"]}))


def test_damaged_commit_files_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_bytes("catalog/commits/build/b1.json", b"{")
    with pytest.raises(ValueError, match=r"damaged commit file .*b1\.json"):
        Catalog(store)


APPENDER = """
import sys
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store
root, name = sys.argv[1:]
for n in range(25):
    with Writer(Store(root), f"run-{name}-{n}", "run") as writer:
        writer.append("metrics", [{"run_id": f"{name}-{n}", "metric": "loss", "value": float(n)}])
"""


def test_two_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path), name]) for name in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    found = (
        Catalog(str(tmp_path)).sql("select count(distinct run_id) as n, sum(value) as total from metrics").to_pylist()
    )
    assert found == [{"n": 50, "total": 600.0}]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.integers(-(2**62), 2**62)), max_size=20))
def test_what_is_appended_is_what_is_read(rows: list[tuple[str, int]]) -> None:
    store = Store("memory://property")
    store.remove("")
    expected = [{"sample_id": name, "seed": seed} for name, seed in rows]
    with Writer(store, "b1", "build") as writer:
        writer.append("samples", expected)
    found = Catalog(store).sql("select sample_id, seed from samples").to_pylist()
    assert found == expected


def test_a_manifest_alone_is_invisible(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_manifest(store, "b1", "samples", [sample(1)])
    assert Catalog(store).sql("select * from samples", all_builds=True).num_rows == 0
