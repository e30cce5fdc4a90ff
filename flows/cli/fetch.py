"""The command that fetches what lists of addresses name."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CPUS, Workers, check_folder
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_early


def fetch(
    source: Annotated[
        str, Parameter(help="List: .parquet, .csv, .tsv, .jsonl or .txt, a folder or a pattern of them.")
    ],
    *,
    out: Annotated[
        str, Parameter(validator=check_folder, help="Folder or fsspec URI for tars; name it under media in a recipe.")
    ],
    root: Annotated[
        str | None, Parameter(validator=check_folder, help="Root whose catalog keeps that this ran; none if left out.")
    ] = None,
    connector: Annotated[
        str | None, Parameter(help="Read the list as this published corpus: laion, webvid, ...")
    ] = None,
    workers: Workers = CPUS,
    media: Annotated[str, Parameter(help="image, audio or video.")] = "image",
    size: Annotated[int, Parameter(help="Pixels of a picture's shorter side, at most; 0: as they come.")] = 256,
    shard_rows: Annotated[int, Parameter(help="Rows of a tar.")] = 1_000,
    at_once: Annotated[int, Parameter(help="Addresses under way in a worker.")] = 64,
    per_host: Annotated[int, Parameter(help="Of them, of one host.")] = 8,
    timeout: Annotated[float, Parameter(help="Seconds of one try.")] = 30.0,
    stall: Annotated[float, Parameter(help="Seconds without a byte.")] = 10.0,
    retries: Annotated[int, Parameter(help="Tries after the first, for what may pass.")] = 2,
    blocklist: Annotated[
        str | None, Parameter(help="File: hosts, *.domains, beginnings of addresses; one a line.")
    ] = None,
    allow_host: Annotated[list[str] | None, Parameter(help="Hosts that may lie in a private network.")] = None,
    robots: Annotated[bool, Parameter(help="Heed robots.txt, tdmrep.json and headers that opt out.")] = True,
) -> None:
    """Fetch media from a list of addresses, politely. A rerun asks only for what failed and may have passed."""
    from codi2_datasets.fetching.options import Options
    from codi2_datasets.fetching.rules import Blocklist

    blocked = Blocklist.read(blocklist) if blocklist else Blocklist()
    options = Options(
        media=media, size=size, shard_rows=shard_rows, at_once=at_once, per_host=per_host, timeout=timeout, stall=stall,
        retries=retries, robots=robots, hosts=tuple(allow_host or ()), blocklist=blocked,
    )  # fmt: skip
    check_source(source, connector)
    start_early()
    from codi2_flows.fetch_media import fetch_media

    found = fetch_media(source, out, options, workers, connector, root)
    show([{"status": name, "rows": count} for name, count in found.items()], ["status", "rows"])
    print(out)


def check_source(source: str, connector: str | None) -> None:
    """Raise before anything starts where the list is not there, or no connector has that name. Raises FetchError."""
    from codi2_datasets.fetching.listing import read_list
    from codi2_datasets.fetching.options import FetchError
    from codi2_datasets.sources.registries import SourceUnavailable

    if connector is None:
        try:
            next(iter(read_list(source)), None)
        except SourceUnavailable as error:
            raise FetchError(str(error)) from error
        return
    from codi2_datasets.connectors import connectors

    if connector not in connectors():
        raise FetchError(f"--connector {connector}: no such connector; known: {', '.join(sorted(connectors()))}")


FETCH_COMMANDS = (fetch,)
