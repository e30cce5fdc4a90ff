"""`codi2 mcp` as an agent meets it: the SDK's own client, over stdio."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

pytest.importorskip("mcp", reason="the MCP SDK is not installed")

from mcp import Client, StdioServerParameters

TOOLS = {"query", "explain", "lineage", "status", "diff", "generate"}
ASK = {"messages": [{"role": "user", "content": "Draw a red circle."}], "max_tokens": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with two builds of one sample each, and a model that was trained on the first."""
    from codi2_model import CoDi2Config, CoDi2ForConditionalGeneration, CoDi2Processor

    folder = tmp_path_factory.mktemp("mcp") / "root"
    processor = CoDi2Processor.build(CoDi2Config.preset("tiny", vocab_size=400, max_length=256), texts=["Draw it."] * 8)
    CoDi2ForConditionalGeneration(processor.config).save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    store = Store(folder)
    for number, build in enumerate(("b1", "b2"), 1):
        with Writer(store, build, "build", info={"created_at": f"2026-01-0{number}"}) as writer:
            writer.append("builds", [{"build_id": build, "recipe": "toys", "samples": 1}])
            about = {"task": "text_to_image", "split": "train", "licence": "MIT"}
            writer.append("samples", [{"build_id": build, "sample_id": f"s{number}" * 8, **about}])
    with Writer(store, "train-1", "run") as writer:
        writer.append("runs", [{"run_id": "train-1", "kind": "train", "build_id": "b1", "created_at": "2026-01-03"}])
        rows = [{"checkpoint_id": "c" * 16, "run_id": "train-1", "step": 3, "uri": store.uri("model")}]
        writer.append("checkpoints", rows)
    return str(folder)


def talk(root: str, calls: list[tuple[str, dict[str, Any]]], *options: str) -> tuple[set[str], list[Any]]:
    """Names of the tools, and the results of calls, of a server that is started for them."""
    arguments = ["-m", "codi2_flows.cli.main", "mcp", "--root", root, "--checkpoint", f"{root}/model", *options]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))

    async def session() -> tuple[set[str], list[Any]]:
        async with Client(server) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            return listed, [await client.call_tool(name, given) for name, given in calls]

    return asyncio.run(session())


def test_an_agent_calls_every_tool_and_a_write_is_refused(root: str) -> None:
    names, results = talk(
        root,
        [
            ("query", {"sql": "select build_id, sample_id from samples", "limit": 1}),
            ("explain", {"sample": "s2s2"}),
            ("lineage", {"checkpoint": "cccc"}),
            ("status", {}),
            ("diff", {"old": "b1", "new": "b2"}),
            ("generate", {**ASK, "modalities": ["image"]}),
            ("generate", {**ASK, "modalities": ["image"], "save": "mine"}),
            ("query", {"sql": "drop table samples"}),
            ("query", {"sql": "select nope from samples"}),
        ],
    )
    assert names == TOOLS
    *good, refused, dropped, wrong = results
    assert not any(result.is_error for result in good)
    query, explain, lineage, status, diff, generated = good
    assert query.structured_content["rows"] == [{"build_id": "b2", "sample_id": "s2" * 8}]
    assert explain.structured_content["sample"]["sample_id"] == "s2" * 8
    assert lineage.structured_content["checkpoint"]["run_id"] == "train-1"
    assert status.structured_content["build"]["build_id"] == "b2"
    assert "s1" * 8 in json.dumps(diff.structured_content)
    image = Image.open(io.BytesIO(base64.b64decode(generated.content[0].data)))
    assert generated.content[0].mime_type == "image/png" and image.size[0] > 0
    assert refused.is_error and "--allow-write" in refused.content[0].text
    assert dropped.is_error and "only queries are served" in dropped.content[0].text
    assert wrong.is_error and "nope" in wrong.content[0].text
    assert not (Path(root) / "generations").exists()


def test_with_allow_write_a_reply_is_saved_as_a_batch(root: str) -> None:
    _, (saved, outside) = talk(
        root,
        [("generate", {**ASK, "modalities": ["image"], "save": "mine"}), ("generate", {**ASK, "save": "../mine"})],
        "--allow-write",
    )
    assert not saved.is_error and Path(saved.content[0].text).is_file()
    (row,) = Catalog(root).sql("select status, prompt from generations").to_pylist()
    assert row == {"status": "done", "prompt": "Draw a red circle."}
    assert outside.is_error and "'../mine'" in outside.content[0].text
