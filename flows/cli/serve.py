"""The serving commands (serve, chat, generate), and rollback."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from codi2_flows.cli.common import AT_LEAST_1, DEFAULT_ROOT, Port, Root, Workers, check_folder, positive, print_model
from codi2_flows.runtime.temporary_server import start_server
from codi2_model.checkpoints.device import Precision
from codi2_storage.errors import UsageError

Checkpoint = Annotated[
    str | None,
    Parameter(help="Checkpoint: folder, id or `shipped`. Default: the promoted model of the root, else `shipped`."),
]


def generate(
    requests: Annotated[
        str,
        Parameter(help="Requests as JSONL, Parquet or shards: {messages: [...], id?, seed?, modalities?, task?}."),
    ],
    *,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for shards, media, page and contact sheet.")],
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    workers: Annotated[
        Workers, Parameter(help="Number of parallel models, with one core each. Above 1 they run on Ray.")
    ] = 1,
    seed: Annotated[int, Parameter(help="Requests without a seed get one derived from this and their id.")] = 0,
    split: Annotated[str, Parameter(help="Split of the generated samples: train, validation or test.")] = "train",
    score: Annotated[
        str | None,
        Parameter(
            help="Build whose shards are the requests: score each reply against the true one, for export to dpo."
        ),
    ] = None,
) -> None:
    """Answer a file of requests in a batch.

    A rerun continues where the last one stopped. The last line of output is the path of the page with the results.
    """
    from codi2_model.checkpoints.registry import resolve_named

    if split not in ("train", "validation", "test"):
        raise UsageError(f"--split {split}: must be train, validation or test")
    model = resolve_named(root, checkpoint)
    check_requests(requests)
    print_model(model)
    start_server()
    from codi2_flows.generate_batch import generate_batch
    from codi2_model.serving.batch.generate_batch import FAILED
    from codi2_storage.store import Store

    print(generate_batch(requests, out, str(model.folder), root, workers, seed, split, score))
    if Store(out).exists(FAILED):
        sys.exit(1)


def check_requests(path: str) -> None:
    """Raise UsageError if the path has no files of requests. Their content is checked later."""
    from codi2_storage.store import Store

    extensions = (".jsonl", ".parquet", ".tar")
    store = Store(path)
    if not store.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    if not path.rstrip("/").endswith(extensions) and not any(name.endswith(extensions) for name in store.list()):
        raise UsageError(f"{path}: no requests there; give files ending in {', '.join(extensions)}")


def serve(
    *,
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[Port, Parameter(help="Port to listen on. 0: any free port.")] = 8000,
    token_file: Annotated[
        str | None, Parameter(help="File with the bearer token that requests need; or set CODI2_API_TOKEN.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, Parameter(help="Web origin whose pages may call the API; repeatable.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, Parameter(help="Additional host name that the server accepts; repeatable.")
    ] = None,
    allow_remote: Annotated[
        list[str] | None,
        Parameter(help="Host from which the server may fetch media, like example.org or *.example.org. Default: none."),
    ] = None,
    replicas: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Largest number of model replicas; Ray scales with the load.")
    ] = 1,
    split_decoders: Annotated[bool, Parameter(help="Run decoders as separate deployments, for clusters.")] = False,
    precision: Annotated[
        Precision,
        Parameter(help="Precision of the decoders. auto: bfloat16 where the processor has instructions for it."),
    ] = "auto",
    queue: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Active requests of each replica; further ones get status 429.")
    ] = 64,
    timeout: Annotated[
        float, Parameter(validator=positive, help="Timeout of a request in seconds; then it gets status 504.")
    ] = 300.0,
    follow: Annotated[
        bool,
        Parameter(
            negative="", help="Switch to a newly promoted model of the root, without a restart or a lost request."
        ),
    ] = False,
) -> None:
    """Serve the model: an OpenAI-compatible API and a web page. Ctrl-C stops the server."""
    from codi2_model.checkpoints.registry import resolve_named
    from codi2_model.serving.deploy.settings import ServerSettings, read_token
    from codi2_storage.host.ports import free_port

    if follow and checkpoint is not None:
        raise UsageError(
            f"--follow serves the promoted model and cannot be combined with --checkpoint {checkpoint}: leave one of them out"
        )
    # check the options before anything starts
    read_token(token_file)
    free_port(port, host)
    resolve_named(root, checkpoint)
    settings = ServerSettings(
        origins=tuple(allow_origin or ()),
        hosts=tuple(allow_host or ()),
        remote_hosts=tuple(allow_remote or ()),
        replicas=replicas,
        split_decoders=split_decoders,
        precision=precision,
        queue=queue,
        timeout_s=timeout,
    )
    start_server()
    from codi2_flows.serve_model import serve_model

    serve_model(checkpoint, root, host, port, settings, token_file, follow)


def chat(
    *,
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for generated media.")] = "./codi2-chat",
    modalities: Annotated[
        str | None, Parameter(help="Allowed modalities of a reply, separated by commas: text,image,audio,video.")
    ] = None,
    system: Annotated[str, Parameter(help="System message.")] = "",
    seed: Annotated[int, Parameter(help="Seed of the generations.")] = 0,
    steps: Annotated[
        int | None, Parameter(validator=AT_LEAST_1, help="Number of decoder steps. Default: that of the model.")
    ] = None,
    guidance: Annotated[
        float | None, Parameter(help="Classifier-free guidance of the decoders. Default: that of the model.")
    ] = None,
    max_tokens: Annotated[int, Parameter(validator=AT_LEAST_1, help="Largest number of text tokens of a reply.")] = 64,
) -> None:
    """Chat with the model in the terminal.

    /help lists the chat commands. In piped input each line is a message.
    """
    from codi2_model.checkpoints.registry import resolve_named

    options: dict[str, Any] = {"seed": seed, "steps": steps, "guidance": guidance, "max_new_tokens": max_tokens}
    if modalities is not None:
        options["modalities"] = tuple(word.strip() for word in modalities.split(","))
        if unknown := [word for word in options["modalities"] if word not in ("text", "image", "audio", "video")]:
            raise UsageError(
                f"--modalities {unknown[0]}: unknown; use text, image, audio and video, separated by commas"
            )
    model = resolve_named(root, checkpoint)
    print_model(model)
    from codi2_model.serving.terminal.chat import chat as run_chat

    if run_chat(model.folder, out, options, system) and not sys.stdin.isatty():
        sys.exit(1)


def rollback(
    *,
    root: Root = DEFAULT_ROOT,
    to: Annotated[
        str | None, Parameter(help="Id of a checkpoint that was promoted before. Default: the previous one.")
    ] = None,
) -> None:
    """Promote the previously promoted model again. Servers started with --follow switch to it.

    The last line of output is the id of its checkpoint.
    """
    from codi2_flows.runtime.events import model_promoted
    from codi2_model.checkpoints.registry import roll_back
    from codi2_storage.store import Store

    row = roll_back(Store(root), to)
    model_promoted(root, row["checkpoint_id"], row["uri"])
    print(f"promoted at {row['since'][:19]}, and again now ({row['reason']})", file=sys.stderr)
    print(row["checkpoint_id"])


SERVE_COMMANDS = (generate, serve, chat, rollback)
