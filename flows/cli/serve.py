"""The commands that let people and programs use a model: serve, chat, generate."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from codi2_flows.cli.common import AT_LEAST_1, DEFAULT_ROOT, Port, Root, Workers, check_folder, positive, print_model
from codi2_flows.runtime.temporary_server import start_early

Checkpoint = Annotated[
    str | None,
    Parameter(help="Checkpoint folder, id, or `shipped`; the root's promoted one, else the shipped one, if left out."),
]


def generate(
    requests: Annotated[
        str,
        Parameter(help="JSONL, Parquet or shards of requests: {messages: [...], id?, seed?, modalities?, task?}."),
    ],
    *,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for shards, media, page and contact sheet.")],
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    workers: Annotated[Workers, Parameter(help="Models at once, a core each; more than one run on Ray.")] = 1,
    seed: Annotated[int, Parameter(help="Rows without a seed get one made of this and their id.")] = 0,
    split: Annotated[str, Parameter(help="Split of the samples made: train, validation or test.")] = "train",
) -> None:
    """Generate for every request of a file; a rerun goes on where it stopped. Prints the page last."""
    from codi2_model.checkpoints.registry import UsageError, resolve_named

    if split not in ("train", "validation", "test"):
        raise UsageError(f"--split {split}: train, validation or test are wanted")
    found = resolve_named(root, checkpoint)
    check_requests(requests)
    print_model(found)
    start_early()
    from codi2_flows.generate_batch import generate_batch
    from codi2_model.serving.batch.generate_batch import FAILED
    from codi2_storage.store import Store

    print(generate_batch(requests, out, str(found.folder), root, workers, seed, split))
    if Store(out).exists(FAILED):
        sys.exit(1)


def check_requests(path: str) -> None:
    """Raises UsageError where no requests lie there; what they hold is looked at later."""
    from codi2_model.checkpoints.registry import UsageError
    from codi2_storage.store import Store

    kinds = (".jsonl", ".parquet", ".tar")
    store = Store(path)
    if not store.exists(""):
        raise UsageError(f"{path}: no such file of requests")
    if not path.rstrip("/").endswith(kinds) and not any(name.endswith(kinds) for name in store.list()):
        raise UsageError(f"{path}: no requests there (files ending in {', '.join(kinds)} are wanted)")


def serve(
    *,
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    host: str = "127.0.0.1",
    port: Annotated[Port, Parameter(help="To listen on; 0: any free one.")] = 8000,
    token_file: Annotated[str | None, Parameter(help="File with the bearer token; or CODI2_API_TOKEN.")] = None,
    allow_origin: Annotated[list[str] | None, Parameter(help="Web origins whose pages may call the API.")] = None,
    allow_host: Annotated[
        list[str] | None, Parameter(help="Host names the server answers to, besides its own.")
    ] = None,
    allow_remote: Annotated[
        list[str] | None, Parameter(help="Hosts whose media may be fetched: example.org, *.example.org. None.")
    ] = None,
    replicas: Annotated[int, Parameter(validator=AT_LEAST_1, help="Model replicas; Ray adds them as load grows.")] = 1,
    split_decoders: Annotated[bool, Parameter(help="Decoders as deployments of their own, for clusters.")] = False,
    queue: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Requests under way in a replica; more are answered 429.")
    ] = 64,
    timeout: Annotated[
        float, Parameter(validator=positive, help="Seconds until a request is given up with 504.")
    ] = 300.0,
    follow: Annotated[
        bool,
        Parameter(negative="", help="Serve whatever is promoted in the root, from then on, without losing a request."),
    ] = False,
) -> None:
    """Serve the model: an OpenAI-compatible API and a page to try it. Ctrl-C stops it."""
    from codi2_model.checkpoints.registry import UsageError, resolve_named
    from codi2_model.serving.deploy.settings import ServerSettings, read_token
    from codi2_storage.host.ports import free_port

    if follow and checkpoint is not None:
        raise UsageError(
            f"--follow serves what is promoted, --checkpoint {checkpoint} one model: leave one of them out"
        )
    read_token(token_file)  # a file that is not there is said now
    free_port(port, host)
    resolve_named(root, checkpoint)  # one that is not there is said now
    settings = ServerSettings(
        origins=tuple(allow_origin or ()),
        hosts=tuple(allow_host or ()),
        remote_hosts=tuple(allow_remote or ()),
        replicas=replicas,
        split_decoders=split_decoders,
        queue=queue,
        timeout_s=timeout,
    )
    from codi2_flows.serve_model import serve_model

    serve_model(checkpoint, root, host, port, settings, token_file, follow)


def chat(
    *,
    checkpoint: Checkpoint = None,
    root: Root = DEFAULT_ROOT,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for what the model makes.")] = "./codi2-chat",
    modalities: Annotated[str | None, Parameter(help="What a reply may hold: text,image,audio,video.")] = None,
    system: Annotated[str, Parameter(help="A system message.")] = "",
    seed: int = 0,
    steps: Annotated[
        int | None, Parameter(validator=AT_LEAST_1, help="Decoder steps; the model's own number if left out.")
    ] = None,
    guidance: Annotated[
        float | None, Parameter(help="How closely decoders follow; the model's own if left out.")
    ] = None,
    max_tokens: Annotated[int, Parameter(validator=AT_LEAST_1, help="Text tokens of a reply.")] = 64,
) -> None:
    """Talk to the model in the terminal; /help lists what a line can be. Each line of piped input is a message."""
    from codi2_model.checkpoints.registry import UsageError, resolve_named

    options: dict[str, Any] = {"seed": seed, "steps": steps, "guidance": guidance, "max_new_tokens": max_tokens}
    if modalities is not None:
        options["modalities"] = tuple(word.strip() for word in modalities.split(","))
        if unknown := [word for word in options["modalities"] if word not in ("text", "image", "audio", "video")]:
            raise UsageError(f"--modalities {unknown[0]}: text, image, audio or video, with commas between them")
    found = resolve_named(root, checkpoint)
    print_model(found)
    from codi2_model.serving.terminal.chat import chat as talk

    if talk(found.folder, out, options, system) and not sys.stdin.isatty():
        sys.exit(1)


def rollback(
    *,
    root: Root = DEFAULT_ROOT,
    to: Annotated[str | None, Parameter(help="Checkpoint that was in place once; the one before if left out.")] = None,
) -> None:
    """Put the model back that was in place before. Prints its checkpoint last. Servers started with --follow go along."""
    from codi2_flows.runtime.events import model_promoted
    from codi2_model.checkpoints.registry import roll_back
    from codi2_storage.store import Store

    row = roll_back(Store(root), to)
    model_promoted(root, row["checkpoint_id"], row["uri"])
    print(f"in place since {row['since'][:19]} and again now ({row['reason']})", file=sys.stderr)
    print(row["checkpoint_id"])


SERVE_COMMANDS = (generate, serve, chat, rollback)
