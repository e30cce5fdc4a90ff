"""The command as a user meets it: help, exit status, one-line errors, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codi2_storage.manifests import Writer
from codi2_storage.store import Store

COMMANDS = (
    "corpora", "build", "fetch", "query", "explain", "train", "evaluate", "generate", "serve", "retrain", "rollback", "lineage",
    "demo",
)  # fmt: skip


def codi2(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codi2_flows.cli", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def root(tmp_path: Path) -> str:
    with Writer(Store(tmp_path), "b1", "build", info={"created_at": "1"}) as writer:
        writer.append("samples", [{"build_id": "b1", "sample_id": "s1", "task": "text_to_image", "split": "train"}])
    return str(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = codi2(command, "--help")
    assert result.returncode == 0 and "Usage: codi2" in result.stdout


def test_query_prints_one_json_array(root: str) -> None:
    result = codi2("query", "select task, split, count(*) as n from samples group by all", "--root", root, "--json")
    assert json.loads(result.stdout) == [{"task": "text_to_image", "split": "train", "n": 1}]
    assert result.returncode == 0 and result.stderr == ""


def test_query_prints_a_table(root: str) -> None:
    result = codi2("query", "select sample_id from samples", "--root", root)
    assert "s1" in result.stdout and "(1 rows)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["query", "select * from nope", "--root", "{root}"], 2, "nope"),
        (["query", "drop table samples", "--root", "{root}"], 2, "only queries are served"),
        (["query", "select 1", "--nope"], 2, "--nope"),
        (["nope"], 2, "nope"),
        (["build", "nope", "--root", "{root}"], 2, "no recipe nope"),
        (["build"], 2, "recipe"),
        (["explain", "nope", "--root", "{root}"], 2, "no sample 'nope'"),
        (["query", "select 1", "--build", "nope", "--root", "{root}"], 2, "published: b1"),
        (
            ["generate", "{root}/requests.jsonl", "--out", "{root}/out", "--checkpoint", "{root}/nowhere"],
            2,
            "no checkpoint there",
        ),
        (["evaluate", "{root}/nowhere", "--root", "{root}"], 2, "no checkpoint there"),
        (["train", "{root}/nowhere.yaml", "--root", "{root}"], 2, "nowhere.yaml"),
    ],
)
def test_errors_are_one_line_and_say_what_is_wrong(root: str, arguments: list[str], status: int, message: str) -> None:
    result = codi2(*(argument.format(root=root) for argument in arguments))
    assert result.returncode == status, result.stderr
    assert message in result.stderr and "Traceback" not in result.stderr


def test_debug_shows_the_trace(root: str) -> None:
    result = codi2("query", "select * from nope", "--root", root, "--debug")
    assert result.returncode != 0 and "Traceback" in result.stderr


def test_corpora_lists_licences_and_sources(root: str) -> None:
    result = codi2("corpora", "--root", root)
    assert "npm:@iconify-json/noto@1.2.9" in result.stdout and "CC-BY-SA-4.0" in result.stdout
    assert "not fetched" in result.stdout
