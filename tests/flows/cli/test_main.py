"""The command as a user meets it: help, exit status, mistakes named before anything starts, JSON."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from codi2_flows.cli import main as program
from codi2_flows.cli import serve
from codi2_flows.cli.main import run
from codi2_flows.runtime import temporary_server
from codi2_model.checkpoints.registry import NamedCheckpoint
from codi2_model.training.config import PRESETS
from codi2_storage.commits.manifests import Writer
from codi2_storage.host.shutdown import Stopping
from codi2_storage.store import Store

COMMANDS = (
    "corpora", "schema", "build", "fetch", "query", "explain", "train", "evaluate", "generate", "serve", "retrain", "rollback", "lineage",
    "demo", "chat", "browse", "export", "import", "forget", "speedrun", "reproduce", "status", "logs", "resume", "gc", "pin",
    "unpin", "compact", "server", "diff", "plugins", "mcp",
)  # fmt: skip
RECIPES = Path(__file__).parents[3] / "datasets" / "recipes"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def codi2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`codi2(*arguments)` in this process: exit status, output, errors. Nothing heavy may start."""
    monkeypatch.setattr(temporary_server, "_url", None)  # tests of other files may have started one in this process

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        before = dict(os.environ)  # `codi2 server` sets it for all that it starts
        try:
            status = run(arguments, Stopping())
        finally:
            os.environ.clear()
            os.environ.update(before)
        shown = capsys.readouterr()
        assert not temporary_server._url  # Prefect's server
        return status, shown.out, shown.err

    return call


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A root with a build of one sample; beside it files, folders and a link that lead nowhere."""
    with Writer(Store(tmp_path), "b1", "build", info={"created_at": "1"}) as writer:
        writer.append("samples", [{"build_id": "b1", "sample_id": "s1", "task": "text_to_image", "split": "train"}])
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    return str(tmp_path)


def test_the_program_starts_names_a_mistake_and_ends_within_two_seconds(root: str) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "codi2_flows.cli.main", "query", "select * from nope", "--root", root]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (
        done.returncode == 2 and "nope" in done.stderr and time.monotonic() - began < 4
    )  # half of it is the machine's


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, codi2: Command) -> None:
    status, out, _ = codi2(command, "--help")
    assert status == 0 and "Usage: codi2" in out


def test_every_command_has_a_group_and_the_help_lists_it_there(codi2: Command) -> None:
    grouped = [name for names in program.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(program.COMMANDS) == sorted(COMMANDS)
    lines = codi2("--help")[1].splitlines()
    panel = ""
    listed: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("╭─ "):
            panel = line.split()[1]
        elif words := re.match(r"│ ([a-z]+)  ", line):
            listed.setdefault(panel, []).append(words[1])
    assert {title: tuple(names) for title, names in listed.items()} == program.GROUPS


@pytest.mark.parametrize(
    ("command", "folder"),
    [("build", RECIPES), ("retrain", RECIPES), ("retrain", PRESETS), ("train", PRESETS), ("speedrun", PRESETS), ("server", RECIPES)],
)  # fmt: skip
def test_help_lists_every_recipe_and_config_that_ships(command: str, folder: Path, codi2: Command) -> None:
    words = codi2(command, "--help")[1].replace("│", " ").replace(".", " ").replace(",", " ").split()
    assert {file.stem for file in folder.glob("*.yaml")} <= set(words)


def test_query_prints_one_json_array(root: str, codi2: Command) -> None:
    status, out, err = codi2(
        "query", "select task, split, count(*) as n from samples group by all", "--root", root, "--json"
    )
    assert json.loads(out) == [{"task": "text_to_image", "split": "train", "n": 1}] and (status, err) == (0, "")
    assert json.loads(codi2("query", "select 1 where false", "--root", root, "--json")[1]) == []


def test_a_piped_table_breaks_no_cell_and_passes_on_duckdbs_hints(root: str, codi2: Command) -> None:
    wide = ", ".join(f"'{number:032}' as c{number}" for number in range(40))
    status, out, _ = codi2("query", f"select sample_id, {wide} from samples", "--root", root)
    assert status == 0 and "(1 rows)" in out and len(out.splitlines()) == 3
    assert all(f"{number:032}" in out.splitlines()[1] for number in range(40))
    status, _, err = codi2("query", "select sampel_id from samples", "--root", root)
    assert status == 2 and err.count("\n") == 1 and 'Candidate bindings: "sample_id"' in err


MISTAKES = [
    (["query", "drop table samples", "--root", "{root}"], 2, "only queries are served"),
    (["query", "select 1; select 2", "--root", "{root}"], 2, "one query at a time"),
    (["query", "", "--root", "{root}"], 2, ""),
    (["query", "select 1", "--nope"], 2, "--nope"),
    (["query", "select 1", "--build", "nope", "--root", "{root}"], 2, "published: b1"),
    (["nope"], 2, "nope"),
    (["build", "nope", "--root", "{root}"], 2, "no recipe nope"),
    (["build"], 2, "recipe"),
    (["build", "demo", "--set", "image.sise=8", "--root", "{root}"], 2, "image.sise'; known: size; did you mean size?"),
    (["build", "demo", "--set", "image.size", "--root", "{root}"], 2, "setting 'image.size': not of the form"),
    (["build", "demo", "--workers", "-1", "--root", "{root}"], 2, "workers"),
    (["build", "demo", "--workers", "0", "--root", "{root}"], 2, "workers"),
    (["build", "demo", "--workers", "two", "--root", "{root}"], 2, "workers"),
    (["build", "demo", "--limit", "0", "--root", "{root}"], 2, "limit"),
    (["build", "demo", "--root", "nope://x/y"], 2, "nope"),
    (["build", "demo", "--root", ""], 2, "root"),
    (["explain", "nope", "--root", "{root}"], 2, "no sample 'nope'"),
    (["diff", "b1", "b2", "--root", "{root}"], 2, "b2"),
    (["forget", "corpus:nothing", "--root", "{root}"], 2, "corpus:nothing"),
    (["export", "latest", "--format", "word", "--out", "{root}/folder", "--root", "{root}"], 2, "word"),
    (["export", "b2", "--format", "trl", "--out", "{root}/folder", "--root", "{root}"], 2, "b2"),
    (["export", "b1", "--format", "trl", "--out", "{root}/file", "--root", "{root}"], 2, "is a file"),
    (["import", "{root}/gone", "--format", "trl", "--out", "{root}/folder"], 2, "gone"),
    (["browse", "--port", "70000", "--root", "{root}"], 2, "port"),
    (["browse", "--port", "{taken}", "--root", "{root}"], 1, "{taken} is taken"),
    (["serve", "--port", "{taken}", "--root", "{root}"], 1, "{taken} is taken"),
    (["serve", "--checkpoint", "{root}/nowhere", "--port", "0", "--root", "{root}"], 2, "neither a checkpoint folder"),
    (["serve", "--token-file", "{root}/nowhere", "--port", "0", "--root", "{root}"], 2, "nowhere"),
    (["serve", "--timeout", "nan", "--port", "0", "--root", "{root}"], 2, "--timeout"),
    (["serve", "--timeout", "-1", "--port", "0", "--root", "{root}"], 2, "--timeout"),
    (["serve", "--replicas", "0", "--port", "0", "--root", "{root}"], 2, "replicas"),
    (["server", "--port", "{taken}", "--root", "{root}"], 1, "{taken} is taken"),
    (["server", "--nightly", "at night", "--port", "0", "--page-port", "0", "--model-port", "0", "--root", "{root}"], 2, "--nightly"),
    (["server", "--config", "nope", "--root", "{root}"], 2, "nope"),
    (["generate", "{root}/gone.jsonl", "--out", "{root}/folder", "--checkpoint", "{root}/nowhere"], 2, "neither a checkpoint folder"),
    (["generate", "{root}/gone.jsonl", "--out", "{root}/folder"], 2, "gone.jsonl"),
    (["generate", "{root}/file", "--out", "{root}/folder"], 2, "file"),
    (["generate", "{root}/none.jsonl", "--out", "{root}/file"], 2, "is a file"),
    (["generate", "{root}/none.jsonl", "--out", "{root}/folder", "--split", "all"], 2, "--split all"),
    (["chat", "--modalities", "smell", "--root", "{root}"], 2, "smell"),
    (["chat", "--steps", "0", "--root", "{root}"], 2, "steps"),
    (["evaluate", "{root}/nowhere", "--root", "{root}"], 2, "neither a checkpoint folder"),
    (["evaluate", "--suite", "nope", "--root", "{root}"], 2, "no such suite; known: quick, open"),
    (["evaluate", "--suite", "coco30k", "--root", "{root}"], 2, "--data"),
    (["evaluate", "--suite", "open", "--task", "nope", "--root", "{root}"], 2, "nope"),
    (["evaluate", "--root", "{root}/folder"], 2, "no published build"),
    (["evaluate", "--build", "b2", "--root", "{root}"], 2, "b2"),
    (["train", "{root}/nowhere.yaml", "--root", "{root}"], 2, "nowhere.yaml"),
    (["train", "test", "--root", "{root}/folder"], 2, "build"),
    (["train", "test", "--start", "nope", "--root", "{root}"], 2, "nope"),
    (["retrain", "demo", "--config", "nope", "--root", "{root}"], 2, "nope"),
    (["retrain", "demo", "--gate-samples", "0", "--root", "{root}"], 2, "gate-samples"),
    (["speedrun", "--recipe", "nope", "--root", "{root}"], 2, "no recipe nope"),
    (["fetch", "{root}/gone.txt", "--out", "{root}/folder"], 2, "gone.txt"),
    (["fetch", "{root}/file", "--out", "{root}/folder"], 2, "file"),
    (["fetch", "{root}/none.jsonl", "--out", "{root}/folder", "--connector", "nope"], 2, "--connector nope"),
    (["fetch", "{root}/none.jsonl", "--out", "{root}/folder", "--blocklist", "{root}/gone"], 2, "gone"),
    (["fetch", "{root}/none.jsonl", "--out", "{root}/folder", "--media", "smell"], 2, "smell"),
    (["fetch", "{root}/none.jsonl", "--out", "{root}/folder", "--timeout", "-1"], 2, "timeout"),
    (["reproduce", "nope", "--root", "{root}"], 2, "nope"),
    (["pin", "nope", "--root", "{root}"], 2, "nope"),
    (["gc", "--keep", "0", "--root", "{root}"], 2, "--keep"),
    (["gc", "--grace", "soon", "--root", "{root}"], 2, "--grace"),
    (["logs", "nope", "--root", "{root}"], 2, "nope"),
    (["resume", "--attempts", "0", "--root", "{root}"], 2, "attempts"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    MISTAKES,
    ids=lambda value: "_".join(value[:3]) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_and_named_before_anything_starts(
    arguments: list[str], status: int, message: str, root: str, codi2: Command
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        names = {"root": root, "taken": other.getsockname()[1]}
        found = codi2(*(argument.format(**names) for argument in arguments))
    assert (found[0], message.format(**names) in found[2]) == (status, True), found
    lines = found[2].splitlines()
    assert lines[0].startswith("codi2: ") and len(lines) == 1 + lines[-1].startswith("Try: "), found
    assert found[1] == ""


@pytest.mark.parametrize(("failures", "status"), [([], 0), (["failed.jsonl"], 1)])
def test_generate_ends_with_1_where_requests_failed(
    failures: list[str], status: int, root: str, codi2: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate_batch(requests: str, out: str, *_: object) -> str:
        for name in failures:
            Store(out).write_bytes(name, b"{}")
        return "page"

    monkeypatch.setattr(serve, "start_server", lambda: None)
    monkeypatch.setitem(sys.modules, "codi2_flows.generate_batch", SimpleNamespace(generate_batch=generate_batch))
    monkeypatch.setattr(
        "codi2_model.checkpoints.registry.resolve_named", lambda *_: NamedCheckpoint(Path("weights"), "mine")
    )
    found = codi2("generate", f"{root}/none.jsonl", "--out", f"{root}/folder", "--root", root)
    assert found == (status, "page\n", "model: mine (weights)\n")


ROOTED = [
    ["corpora"], ["build", "demo"], ["query", "select 1"], ["explain", "s1"], ["diff", "b1", "b1"], ["forget", "a:b"],
    ["export", "latest", "--format", "trl", "--out", "{root}/folder"], ["browse"], ["train", "test"], ["evaluate"], ["retrain", "demo"],
    ["speedrun"], ["demo"], ["generate", "{root}/none.jsonl", "--out", "{root}/folder"], ["serve"], ["chat"], ["rollback"], ["status"],
    ["logs"], ["resume"], ["gc"], ["pin", "b1"], ["unpin", "b1"], ["compact"], ["lineage", "b1"], ["reproduce", "latest"], ["server"],
    ["fetch", "{root}/none.jsonl", "--out", "{root}/folder"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", ROOTED, ids=lambda arguments: arguments[0])
def test_a_root_that_is_a_file_or_leads_nowhere_is_refused_by_every_command(
    arguments: list[str], root: str, codi2: Command
) -> None:
    for name, message in (("file", "is a file"), ("file/below", "is a file"), ("link", "broken link")):
        given = [argument.format(root=root) for argument in arguments]
        status, out, err = codi2(*given, "--root", f"{root}/{name}")
        assert (status, out) == (2, "") and message in err, (status, out, err)


def test_debug_shows_the_trace(root: str) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli.main", "query", "select * from nope", "--root", root, "--debug"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_corpora_lists_licences_and_sources(root: str, codi2: Command) -> None:
    status, out, _ = codi2("corpora", "--root", root)
    assert status == 0 and "npm:@iconify-json/noto@1.2.9" in out and "CC-BY-SA-4.0" in out and "not fetched" in out


def test_a_stream_that_is_closed_or_nobody_reads_is_no_error(root: str) -> None:
    query = f"{sys.executable} -m codi2_flows.cli.main query 'select * from range(300000)' --root '{root}'"
    done = subprocess.run(f"{query} >&- && {query} | head -1", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "range\n", "")


def test_a_working_folder_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codi2: Command
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    status, _, err = codi2("query", "select 1")
    assert status == 2 and "working folder" in err and err.count("\n") == 1
