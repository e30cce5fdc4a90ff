"""`codi2 gc`, `pin`, `unpin`, `compact` as a user meets them: what they print, what is gone after them, and bad usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codi2_flows.cli.main import run
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.host.shutdown import Stopping
from codi2_storage.store import Store

Codi2 = Callable[..., tuple[int, str, str]]


@pytest.fixture
def codi2(capsys: pytest.CaptureFixture[str]) -> Codi2:
    """`codi2("gc", ...)`: (exit status, standard output, standard error)."""

    def codi2(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments, Stopping())
        said = capsys.readouterr()
        return status, said.out, said.err

    return codi2


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Three builds of one recipe, each with a shard of its own."""
    store = Store(tmp_path / "root")
    for name in ("aa11", "bb22", "cc33"):
        store.write_bytes(f"shards/t/train-{name}.tar", name.encode() * 1_000)
        with Writer(store, name, "build", info={"created_at": name, "recipe": "r"}) as writer:
            writer.append("builds", [{"build_id": name, "recipe": "r", "created_at": name}])
            writer.append("shards", [{"build_id": name, "shard": f"shards/t/train-{name}.tar"}])
    return store.root


def builds(root: str) -> set[str]:
    return {row["build_id"] for row in Catalog(root).sql("select build_id from builds", all_builds=True).to_pylist()}


def test_a_dry_run_says_what_would_go_and_removes_nothing(codi2: Codi2, root: str) -> None:
    before = Store(root).list()
    status, out, _ = codi2("gc", "--root", root, "--keep", "1", "--grace", "0", "--dry-run")
    assert status == 0 and "build cc33" in out and out.splitlines()[-1].startswith("would delete ")
    assert Store(root).list() == before
    lines = json.loads(codi2("gc", "--root", root, "--keep", "1", "--grace", "0", "--dry-run", "--json")[1])["lines"]
    assert {line["kind"] for line in lines} >= {"build"} and sum(line["bytes"] for line in lines) > 8_000


def test_what_is_pinned_stays_until_it_is_unpinned(codi2: Codi2, root: str) -> None:
    assert codi2("pin", "aa", "--root", root, "--reason", "the paper's")[:2] == (0, "aa11\n")
    status, out, _ = codi2("gc", "--root", root, "--keep", "1", "--grace", "0s")
    assert status == 0 and "the paper's" in out and out.splitlines()[-1].startswith("deleted ")
    assert builds(root) == {"aa11", "cc33"}
    assert codi2("unpin", "aa11", "--root", root)[:2] == (0, "aa11\n")
    assert codi2("pin", "latest", "--root", root)[1] == codi2("unpin", "latest", "--root", root)[1] == "cc33\n"
    codi2("gc", "--root", root, "--keep", "1", "--grace", "0s")
    assert builds(root) == {"cc33"} and Store(root).list("shards") == ["shards/t/train-cc33.tar"]


def test_compact_says_where_there_is_nothing_to_do(codi2: Codi2, root: str) -> None:
    status, out, _ = codi2("compact", "--root", root)
    assert status == 0 and out.startswith("nothing to compact")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gc", "--root", "{root}", "--grace", "soon"], "--grace soon"),
        (["gc", "--root", "{root}", "--keep", "0"], "--keep 0"),
        (["gc", "--root", "{root}/mistyped"], "mistyped: no catalog there"),
        (["pin", "zz", "--root", "{root}"], "zz"),
        (["unpin", "aa11", "--root", "{root}"], "aa11"),
    ],
)
def test_bad_usage_is_one_line(codi2: Codi2, root: str, arguments: list[str], message: str) -> None:
    status, _, err = codi2(*(argument.format(root=root) for argument in arguments))
    assert status == 2 and message in err and "Traceback" not in err
