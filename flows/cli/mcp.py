"""The command `mcp`: a Model Context Protocol server over stdio, by which agents and editors query a root and generate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, wraps
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.serve import Checkpoint
from codi2_flows.runtime.errors import one_line
from codi2_storage.errors import UsageError

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from codi2_model.serving.scheduler.engine import Engine

ROWS = 1000  # the most that `query` returns, so that a reply fits into an agent's context
INSTRUCTIONS = """A root of CoDi-2, open: builds of an in-context multimodal dataset, and models trained on them.
Start with `status`. Tables for `query`: select table_name, column_name from information_schema.columns."""


def mcp(
    *,
    root: Root = DEFAULT_ROOT,
    checkpoint: Checkpoint = None,
    allow_write: Annotated[
        bool,
        Parameter(negative="", help="Let `generate` save its replies under the root. Default: nothing is written."),
    ] = False,
) -> None:
    """Serve a root to agents and editors over stdio, by the Model Context Protocol.

    Tools: query, explain, lineage, status, diff and generate. Add it to a client as the command `codi2 mcp --root URI`.
    """
    server(Tools(root, checkpoint, allow_write)).run("stdio")


def server(tools: Tools) -> MCPServer:
    """A server of these tools. Raises UsageError if the SDK is not installed."""
    try:
        from mcp.server import MCPServer
        from mcp_types import ToolAnnotations
    except ImportError as error:
        raise UsageError("codi2 mcp needs the package mcp: pip install 'codi2-open[mcp]'") from error
    made = MCPServer("codi2", instructions=INSTRUCTIONS)
    for tool in (tools.query, tools.explain, tools.lineage, tools.status, tools.diff, tools.generate):
        read_only = tool != tools.generate or not tools.allow_write
        made.tool(annotations=ToolAnnotations(read_only_hint=read_only, open_world_hint=False))(explained(tool))
    return made


def explained(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The tool, whose errors reach the agent as one line."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return tool(*arguments, **options)
        except Exception as error:
            raise ToolError(one_line(error)) from error

    return call


@dataclass
class Tools:
    """The tools, each over the function behind the command of its name. Docstrings are what an agent reads."""

    root: str
    checkpoint: str | None = None
    allow_write: bool = False

    def query(self, sql: str, build: str | None = None, all_builds: bool = False, limit: int = 100) -> dict[str, Any]:
        """Run one read-only SQL query (DuckDB) over the tables of the catalog, by default those of the latest build.

        Returns columns, at most `limit` rows, and whether there were more.
        """
        from codi2_storage.catalog.catalog import Catalog, explained

        most = min(limit, ROWS)
        with Catalog(self.root).stream(sql, build=build, all_builds=all_builds) as reader, explained():
            rows = list(islice((row for batch in reader for row in batch.to_pylist()), most + 1))
            return plain({"columns": reader.schema.names, "rows": rows[:most], "more": len(rows) > most})

    def explain(self, sample: str, build: str | None = None) -> dict[str, Any]:
        """Trace a sample (its id, or the first characters of it) to its sources: corpus, file, licence, operators."""
        from codi2_storage.catalog.lineage import explain

        return plain(explain(self.root, sample, build))

    def lineage(self, checkpoint: str | None = None) -> dict[str, Any]:
        """Trace a model (default: the promoted one) to its training run, build, tasks, corpora and licences."""
        from codi2_model.checkpoints.lineage import model_lineage
        from codi2_storage.catalog.catalog import Catalog

        return plain(model_lineage(Catalog(self.root), checkpoint).to_dict())

    def status(self, runs: int = 10) -> dict[str, Any]:
        """Active and ended runs, failures and their remedies, the promoted model, the latest build, schedules, sizes."""
        from codi2_flows.cli.output.status import status

        return plain(asdict(status(self.root, runs)))

    def diff(self, old: str, new: str) -> dict[str, Any]:
        """Compare two builds (ids, their first characters, or `latest`): recipe, corpora, samples, rejects, shards."""
        from codi2_storage.catalog.diff import diff

        return plain(diff(self.root, old, new).to_dict())

    def generate(
        self,
        messages: list[dict[str, Any]],
        modalities: list[str] | None = None,
        seed: int = 0,
        max_tokens: int = 64,
        save: str | None = None,
    ) -> list[Any]:
        """Ask the model. `messages` as in OpenAI's API, with parts of text, image_url, input_audio and video_url.

        `modalities` of the reply: text, image, audio, video. Returns texts, images and sounds in their order. `save` names
        a folder of the root's `generations` that the reply and a page are written to, which needs `--allow-write`.
        """
        request = {"messages": messages, "seed": seed, "max_tokens": max_tokens}
        if modalities:
            request["modalities"] = modalities
        return self.answer(request) if save is None else [self.save(request, save)]

    def answer(self, request: dict[str, Any]) -> list[Any]:
        """The reply as blocks of the protocol."""
        from codi2_model.serving.batch.request_files import RequestRow
        from codi2_model.serving.openai.errors import RequestError

        row = RequestRow("request", "generate", request)
        (reply,) = self.engine.complete([row.request(0, self.engine.modalities)])
        if isinstance(reply, RequestError):
            raise reply
        return [block(part) for part in reply.content]

    def save(self, request: dict[str, Any], name: str) -> str:
        """Answer a request as `codi2 generate` does. Returns the URI of the page."""
        from codi2_datasets.formats.hashing import digest
        from codi2_model.serving.batch.generate_batch import generate_requests
        from codi2_storage.store import Store

        if not self.allow_write:
            raise UsageError("this server is read-only: start it with `codi2 mcp --allow-write` to save replies")
        if not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"save {name!r}: use letters, digits, - and _")
        store = Store(self.root)
        requests = f"generations/{name}/requests.jsonl"
        store.write_bytes(requests, json.dumps({"id": digest(request)[:16], **request}).encode())
        return generate_requests(store.uri(requests), store.uri(f"generations/{name}"), self.checkpoint, self.root)

    @cached_property
    def engine(self) -> Engine:
        """The model, loaded at the first request."""
        from codi2_model.checkpoints.registry import resolve_named
        from codi2_model.serving.scheduler.engine import Engine

        return Engine(resolve_named(self.root, self.checkpoint).folder, "codi2")


def block(part: dict[str, Any]) -> Any:
    """A part of a reply as a content block. The protocol has none for video: it is an embedded resource."""
    from mcp_types import AudioContent, BlobResourceContents, EmbeddedResource, ImageContent, TextContent

    from codi2_model.serving.http.media import encoded

    kind = part["type"]
    if kind == "text":
        return TextContent(type="text", text=part["text"])
    data = encoded(kind, part["value"])
    if kind == "image":
        return ImageContent(type="image", data=data, mime_type="image/png")
    if kind == "audio":
        return AudioContent(type="audio", data=data, mime_type="audio/wav")
    video = BlobResourceContents(uri="codi2://reply/video.mp4", mime_type="video/mp4", blob=data)
    return EmbeddedResource(type="resource", resource=video)


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """JSON values alone: dates and decimals become strings, as in the output of `--json`."""
    return json.loads(json.dumps(value, default=str))


MCP_COMMANDS = (mcp,)
