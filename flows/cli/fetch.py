"""The command `fetch`: downloads the media of a list of URLs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CPUS, Workers, check_folder
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_server
from codi2_storage.errors import UsageError


def fetch(
    source: Annotated[
        str,
        Parameter(
            help="List of URLs: a .parquet, .csv, .tsv, .jsonl or .txt file, a folder or a glob pattern of them."
        ),
    ],
    *,
    out: Annotated[
        str,
        Parameter(validator=check_folder, help="Folder or fsspec URI for the tars. A recipe names it under `media`."),
    ],
    root: Annotated[
        str | None,
        Parameter(validator=check_folder, help="Root whose catalog records the run. Default: the run is not recorded."),
    ] = None,
    connector: Annotated[
        str | None, Parameter(help="Read the list with the connector of a published corpus: laion, webvid, ...")
    ] = None,
    workers: Workers = CPUS,
    media: Annotated[str, Parameter(help="Modality: image, audio or video.")] = "image",
    size: Annotated[int, Parameter(help="Largest length of an image's shorter side in pixels. 0: no resizing.")] = 256,
    shard_rows: Annotated[int, Parameter(help="Rows of each tar.")] = 1_000,
    at_once: Annotated[int, Parameter(help="Parallel requests of each worker.")] = 64,
    per_host: Annotated[int, Parameter(help="Parallel requests of each worker to one host.")] = 8,
    timeout: Annotated[float, Parameter(help="Timeout of one attempt in seconds.")] = 30.0,
    stall: Annotated[float, Parameter(help="Timeout without a received byte in seconds.")] = 10.0,
    retries: Annotated[int, Parameter(help="Retries after a transient error.")] = 2,
    blocklist: Annotated[
        str | None, Parameter(help="File with one host, *.domain or URL prefix in each line. They are not fetched.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, Parameter(help="Host that may be in a private network; repeatable.")
    ] = None,
    robots: Annotated[bool, Parameter(help="Honor opt-outs in robots.txt, tdmrep.json and HTTP headers.")] = True,
) -> None:
    """Download the media of a list of URLs into tars.

    Honors opt-outs and limits the requests to each host. A rerun retries transient failures only.
    """
    from codi2_datasets.fetching.options import Options
    from codi2_datasets.fetching.rules import Blocklist

    blocked = Blocklist.read(blocklist) if blocklist else Blocklist()
    options = Options(
        media=media, size=size, shard_rows=shard_rows, at_once=at_once, per_host=per_host, timeout=timeout, stall=stall,
        retries=retries, robots=robots, hosts=tuple(allow_host or ()), blocklist=blocked,
    )  # fmt: skip
    check_source(source, connector)
    start_server()
    from codi2_flows.fetch_media import fetch_media

    counts = fetch_media(source, out, options, workers, connector, root)
    show([{"status": name, "rows": count} for name, count in counts.items()], ["status", "rows"])
    print(out)


def check_source(source: str, connector: str | None) -> None:
    """Raise UsageError if the list does not exist or there is no such connector."""
    from codi2_datasets.fetching.listing import read_list
    from codi2_datasets.sources.registries import SourceUnavailable

    if connector is None:
        try:
            next(iter(read_list(source)), None)
        except SourceUnavailable as error:
            raise UsageError(str(error)) from error
        return
    from codi2_datasets.connectors import connectors

    if connector not in connectors():
        raise UsageError(f"--connector {connector}: no such connector; known: {', '.join(sorted(connectors()))}")


FETCH_COMMANDS = (fetch,)
